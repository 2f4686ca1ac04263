"""Records in, results and dead letters out: at least once, in the order of their partitions."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.journal.clock import epoch_ms
from repertory.streams.claims import Claim, Claims, Place
from repertory.streams.lane import Lane
from repertory.streams.record import Record
from repertory.streams.scorer import Scorer
from repertory.streams.sink import Sink
from repertory.streams.source import Source
from repertory.streams.statistics import StreamStatistics
from repertory.streams.topics import Topic

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

    The consumer's messages go to the lane of their data type; lanes score them and write results;
    the broker's acknowledgements of these move the position of the claim, which is committed.
    """

    def __init__(
        self, config: ClusterConfig, client: RouterClient, *, node: str, topics: Mapping[str, Topic]
    ) -> None:
        self._claims = Claims()
        self._acknowledged = asyncio.Event()
        self._paused: set[Lane] = set()
        self._draining = False
        self.statistics = StreamStatistics()
        self._sink = Sink(
            config.kafka, topics, self.statistics, acknowledged=self._acknowledged.set
        )
        self._lanes: dict[str, Lane] = {}  # by topic
        for name, data_type in config.data_types.items():
            scorer = Scorer(client, name, deadline=config.kafka.deadline_ms / 1000)
            lane = Lane(
                data_type,
                data_type=name,
                scorer=scorer,
                sink=self._sink,
                statistics=self.statistics,
            )
            self._lanes |= dict.fromkeys(data_type.topics, lane)
        self._source = Source(
            config.kafka,
            list(self._lanes),
            instance=f"{config.kafka.group_id}-{node}",
            claims=self._claims,
            revoked=self._revoked,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in flight and commit it.

        1. Read, score, write, commit. 2. When told to stop, send nothing more, and wait until what
        is in flight is written and acknowledged. 3. Give up the partitions, which commits their
        positions. Raises DeliveryFailed or SourceFailed, in a group, when only a new process can
        go on, from what is committed.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(lane.run()) for lane in set(self._lanes.values())]
                background.append(tasks.create_task(self._commit()))
                background.append(tasks.create_task(self._sink.watch()))
                await self._read(stop)
                await self._drain()
                for task in background:
                    task.cancel()
            await self._source.close()
        finally:
            self._sink.close()

    def report(self) -> dict[str, Any]:
        """Return counts and measurements, for people and monitors."""
        lanes = {lane.data_type: lane for lane in self._lanes.values()}
        lag = self._source.lag()
        return {
            **self.statistics.as_json(),
            "rebalances": self._source.rebalances,
            "outstanding": self._sink.outstanding,
            "lag": {f"{topic}/{partition}": n for (topic, partition), n in sorted(lag.items())},
            "data_types": {
                name: {
                    "queued": lane.queued,
                    "in_flight": lane.in_flight,
                    "waiting_for": lane.scorer.waiting_for,
                }
                for name, lane in lanes.items()
            },
        }

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            self._source.commit()

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
        for message in messages:
            # What a message with no error has is never None.
            topic, partition = cast(Place, (message.topic(), message.partition()))
            claim = self._claims.get((topic, partition))
            if claim is not None:  # else it was given up in this very read
                kind, timestamp = message.timestamp()
                if kind == TIMESTAMP_NOT_AVAILABLE:
                    timestamp = 0
                offset = cast(int, message.offset())
                claim.take(offset)
                record = Record(
                    claim, offset, message.key(), message.value() or b"", timestamp, now
                )
                by_lane[self._lanes[topic]].append(record)
        self.statistics.records += len(messages)
        for lane, records in by_lane.items():
            lane.put(records)

    async def _hold_back(self) -> None:
        full = {lane for lane in self._lanes.values() if lane.full}
        if full - self._paused:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for lane in full - self._paused:
                        await lane.wait_for_room()
        self._paused = {
            lane
            for lane in self._lanes.values()
            if lane.full or (lane in self._paused and not lane.has_room)
        }
        await self._source.pause(
            [claim.place for claim in self._claims if self._lanes[claim.topic] in self._paused]
        )

    # --- partitions going, and the end

    async def _revoked(self, places: list[Place]) -> list[tuple[Place, int]]:
        claims = self._claims.only(places)
        self._discard(claims)
        if not self._draining:
            await self._settle(claims, REVOKE_SECONDS)
        positions = [
            (claim.place, claim.position)
            for claim in claims
            if claim.position is not None and claim.position != claim.committed
        ]
        self._claims.release(places)
        return positions

    async def _drain(self) -> None:
        log.info("finishing what is in flight")
        self._draining = True
        for lane in self._lanes.values():
            lane.close()
        claims = list(self._claims)
        self._discard(claims)
        await self._settle(claims, DRAIN_SECONDS)

    def _discard(self, claims: list[Claim]) -> None:
        for lane in set(self._lanes.values()):
            lane.discard(claims)

    async def _settle(self, claims: list[Claim], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not all(claim.settled for claim in claims):
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
