"""Records in, results and dead letters out, in the order of their partitions."""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from repertory.actors.client import RouterClient
from repertory.actors.phases import Step
from repertory.actors.troubles import Troubles
from repertory.config import ClusterConfig
from repertory.journal.clock import epoch_ms
from repertory.streams.acknowledged_sink import AcknowledgedSink
from repertory.streams.claims import Claim, Claims, Place
from repertory.streams.dead_letters import headers_of
from repertory.streams.lane import Lane
from repertory.streams.lanes import Lanes, record_topics
from repertory.streams.record import Record
from repertory.streams.sinks import Sinks
from repertory.streams.source import Source, instance_id
from repertory.streams.takeover import Takeover
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic
from repertory.streams.transactional_sink import TransactionalSink

COMMIT_SECONDS = 0.5
# A lane that is full gets this long to find room before its partitions are paused: a pause throws
# away what librdkafka has read ahead, and no other lane goes hungry in so short a time.
PATIENCE_SECONDS = 0.1
# What is in flight is waited for when partitions are given up, and at the end of the process.
REVOKE_SECONDS = 2.0
DRAIN_SECONDS = 1.8

log = structlog.get_logger(__name__)


class RecordStream:
    """The way of records through the face.

    The consumer's messages go to the lane of their stream; lanes have them scored and write
    results; when the brokers have these, the position of the claim moves on and is committed.
    """

    def __init__(
        self,
        config: ClusterConfig,
        client: RouterClient,
        *,
        node: str,
        topics: Mapping[str, Topic],
        troubles: Troubles,
        done: Callable[[Step], None],
    ) -> None:
        self._troubles = troubles
        self._done = done
        self._claims = Claims()
        self._acknowledged = asyncio.Event()
        self._paused: dict[Lane, float] = {}  # since when, monotonic seconds
        self._draining = False
        self.telemetry = StreamTelemetry()
        self._source = Source(
            config.kafka,
            record_topics(config),
            node=node,
            shared=config.is_cluster,
            claims=self._claims,
            revoked=self._revoked,
        )
        outputs = (config.kafka, topics, self.telemetry)
        sinks = Sinks(
            {
                "at-least-once": lambda: AcknowledgedSink(
                    *outputs,
                    secure=self._source.commits.secure if config.is_cluster else None,
                    acknowledged=self._acknowledged.set,
                ),
                "exactly-once": lambda: TransactionalSink(
                    *outputs,
                    instance=instance_id(config.kafka.group_id, node),
                    node=node if config.is_cluster else None,
                    group_metadata=self._source.group_metadata,
                    acknowledged=self._acknowledged.set,
                ),
            }
        )
        self._lanes = Lanes(config, client, sinks, self.telemetry)
        self._sinks = sinks.made
        self._takeover = (
            Takeover(
                config.kafka,
                self._source,
                self._claims,
                node=node,
                transactional=any(isinstance(each, TransactionalSink) for each in self._sinks),
                inherited=client.raise_floor,
            )
            if config.is_cluster
            else None
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in flight and commit it.

        1. Read, score, write, commit. 2. When told to stop, send nothing more, and wait until what
        is in flight is written and acknowledged. 3. Give up the partitions, which commits their
        positions. `done` is told of each. Raises DeliveryFailed, SourceFailed or Frozen, in a group,
        when only a new process can go on, from what is committed.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._takeover is None:
                    await self._begin()
                self._source.subscribe()
                background = [tasks.create_task(lane.run()) for lane in self._lanes]
                background.append(tasks.create_task(self._write()))
                background.append(tasks.create_task(self._commit()))
                if self._takeover is not None:
                    background.append(tasks.create_task(self._takeover.run()))
                    background.append(tasks.create_task(self._source.vigil.run()))
                await self._read(stop)
                self._done(Step.STOP_TAKING)
                await self._drain()
                self._done(Step.FINISH)
                for task in background:
                    task.cancel()
            if self._takeover is not None:
                await self._takeover.close()
            await self._source.close()
            self._done(Step.COMMIT)
        finally:
            for sink in self._sinks:
                await sink.close()

    @property
    def joined(self) -> bool:
        """Whether the consumer ever had its place in the group."""
        return self._source.joined

    def report(self) -> dict[str, Any]:
        """Return counts and measurements, for people and monitors; notes troubles on the way."""
        lag = self._source.lag()
        self._troubles.note("the consumer", self._source.trouble())
        for lane in self._lanes:
            claims = [claim for claim in self._claims if self._lanes.of_topic[claim.topic] is lane]
            self._troubles.note(f"stream {lane.stream}", self._lanes.stall(lane, claims, lag))
        behind = Counter[str]()
        for (topic, _), records in lag.items():
            behind[self._lanes.of_topic[topic].stream] += records
        return {
            **self.telemetry.as_json(),
            "rebalances": self._source.rebalances,
            "outstanding": self._outstanding(),
            "lag": {f"{topic}/{partition}": n for (topic, partition), n in sorted(lag.items())},
            "streams": {
                lane.stream: {
                    "queued": lane.queued,
                    "in_flight": lane.in_flight,
                    "lag": behind[lane.stream],
                }
                for lane in self._lanes
            },
            "waiting_for": self._lanes.waiting_for(),
        }

    def exposition(self) -> str:
        """Return the same as Prometheus metrics, in text format."""
        self.telemetry.gauges(
            in_flight={lane.stream: lane.in_flight for lane in self._lanes},
            queued={lane.stream: lane.queued for lane in self._lanes},
            lag=self._source.lag(),
            outstanding=self._outstanding(),
        )
        return self.telemetry.exposition()

    def _outstanding(self) -> int:
        return sum(sink.outstanding for sink in self._sinks)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._source.commits.commit()

    async def _begin(self) -> None:
        for sink in self._sinks:
            await sink.begin()

    async def _write(self) -> None:
        if self._takeover is not None:
            # Whoever is not known to the others may be taken for one that vanished, and fenced.
            await self._source.placed.wait()
            await self._begin()
        async with asyncio.TaskGroup() as tasks:
            for sink in self._sinks:
                tasks.create_task(sink.run())

    # --- records in

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            messages = await self._source.read()
            if messages:
                self._take(messages)
            await self._hold_back()

    def _take(self, messages: Sequence[Message]) -> None:
        now = epoch_ms()
        by_lane: defaultdict[Lane, list[Record]] = defaultdict(list)
        # Messages come in stretches of one partition.
        for place, stretch in groupby(messages, _place):
            claim = self._claims.get(place)
            if claim is not None:  # else it was given up in this very read
                records = [_record(claim, message, now) for message in stretch]
                claim.take(len(records), first=records[0].offset)
                by_lane[self._lanes.of_topic[claim.topic]] += records
        for lane, several in by_lane.items():
            self.telemetry.received(lane.stream, len(several))
            lane.put(several)

    async def _hold_back(self) -> None:
        full = {lane for lane in self._lanes if lane.full}
        if full - self._paused.keys():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for lane in full - self._paused.keys():
                        await lane.wait_for_room()
        self._note_paused(
            [
                lane
                for lane in self._lanes
                if lane.full or (lane in self._paused and not lane.has_room)
            ]
        )
        await self._source.pause(
            [
                claim.place
                for claim in self._claims
                if self._lanes.of_topic[claim.topic] in self._paused
            ]
        )

    def _note_paused(self, lanes: list[Lane]) -> None:
        now = time.monotonic()
        for lane in self._paused.keys() - set(lanes):
            self.telemetry.credit_waited(lane.stream, now - self._paused[lane])
        self._paused = {lane: self._paused.get(lane, now) for lane in lanes}

    # --- partitions going, and the end

    async def _revoked(self, places: list[Place]) -> list[tuple[Claim, int]]:
        claims = self._claims.only(places)
        self._discard(claims)
        if not self._draining:
            await self._settle(claims, REVOKE_SECONDS)
        positions = [
            (claim, position) for claim in claims if (position := claim.uncommitted) is not None
        ]
        self._claims.release(places)
        return positions

    async def _drain(self) -> None:
        log.info("finishing what is in flight")
        self._draining = True
        for lane in self._lanes:
            lane.close()
        claims = list(self._claims)
        self._discard(claims)
        await self._settle(claims, DRAIN_SECONDS)

    def _discard(self, claims: list[Claim]) -> None:
        for lane in self._lanes:
            lane.discard(claims)

    async def _settle(self, claims: list[Claim], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not all(claim.settled for claim in claims):
                    self._acknowledged.clear()
                    await self._acknowledged.wait()


def _place(message: Message) -> Place:
    # What a message with no error has is never None.
    return cast(Place, (message.topic(), message.partition()))


def _record(claim: Claim, message: Message, now_ms: int) -> Record:
    kind, timestamp = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        timestamp = 0
    return Record(
        claim,
        cast(int, message.offset()),
        message.key(),
        message.value(),
        timestamp,
        now_ms,
        headers_of(message) or None,
    )
