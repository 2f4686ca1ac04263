"""Records in, results and dead letters out, in the order of their partitions."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig, DataType, Delivery
from repertory.journal.clock import epoch_ms
from repertory.protos.loading import load_message
from repertory.streams.acknowledged_sink import AcknowledgedSink
from repertory.streams.batcher import Batcher
from repertory.streams.claims import Claim, Claims, Place
from repertory.streams.dead_letters import headers_of
from repertory.streams.lane import Lane
from repertory.streams.record import Record
from repertory.streams.routing import DedicatedTopics, MixedTopics
from repertory.streams.scorer import Scorer
from repertory.streams.sink import Sink
from repertory.streams.source import Source
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic
from repertory.streams.transactional_sink import TransactionalSink

MIXED = "mixed"  # the stream of the topics whose records say their data type themselves
MIXED_BATCH, MIXED_DELAY_SECONDS, MIXED_IN_FLIGHT = 512, 0.005, 4
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
        self, config: ClusterConfig, client: RouterClient, *, node: str, topics: Mapping[str, Topic]
    ) -> None:
        self._claims = Claims()
        self._acknowledged = asyncio.Event()
        self._paused: dict[Lane, float] = {}  # since when, monotonic seconds
        self._draining = False
        self.telemetry = StreamTelemetry()
        self._config, self._topics = config, topics
        self._instance = f"{config.kafka.group_id}-{node}"
        self._source = Source(
            config.kafka,
            record_topics(config),
            instance=self._instance,
            claims=self._claims,
            revoked=self._revoked,
        )
        self._sinks: dict[Delivery, Sink] = {}
        self._scorers = {
            name: self._scorer(name, data_type, client)
            for name, data_type in config.data_types.items()
        }
        self._lanes = self._make_lanes()

    def _scorer(self, name: str, data_type: DataType, client: RouterClient) -> Scorer:
        return Scorer(
            client,
            name,
            value_format=data_type.value_format,
            deadline=self._config.kafka.deadline_ms / 1000,
            telemetry=self.telemetry,
        )

    def _make_lanes(self) -> dict[str, Lane]:
        """Return the lane of each topic."""
        kafka = self._config.kafka
        lanes: dict[str, Lane] = {}
        for name, data_type in self._config.data_types.items():
            if data_type.topics:
                lane = Lane(
                    name,
                    Batcher(data_type.max_batch, data_type.max_delay_ms / 1000),
                    DedicatedTopics(name, self._scorers[name]),
                    self._sink(data_type.delivery or kafka.delivery),
                    in_flight=min(data_type.batches_in_flight, data_type.credit),
                )
                lanes |= dict.fromkeys(data_type.topics, lane)
        if kafka.mixed_topics:
            messages = {
                name: load_message(data_type.message)
                for name, data_type in self._config.data_types.items()
            }
            lane = Lane(
                MIXED,
                Batcher(MIXED_BATCH, MIXED_DELAY_SECONDS),
                MixedTopics(self._scorers, messages),
                self._sink(kafka.delivery),
                in_flight=MIXED_IN_FLIGHT,
            )
            lanes |= dict.fromkeys(kafka.mixed_topics, lane)
        return lanes

    def _sink(self, delivery: Delivery) -> Sink:
        if delivery not in self._sinks:
            self._sinks[delivery] = self._make_sink(delivery)
        return self._sinks[delivery]

    def _make_sink(self, delivery: Delivery) -> Sink:
        kafka, tell = self._config.kafka, self._acknowledged.set
        if delivery == "at-least-once":
            return AcknowledgedSink(kafka, self._topics, self.telemetry, acknowledged=tell)
        return TransactionalSink(
            kafka,
            self._topics,
            self.telemetry,
            transactional_id=f"{self._instance}-streams",
            group_metadata=self._source.group_metadata,
            acknowledged=tell,
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
                for sink in self._sinks.values():
                    await sink.begin()
                self._source.subscribe()
                background = [tasks.create_task(lane.run()) for lane in self._each_lane()]
                background += [tasks.create_task(sink.run()) for sink in self._sinks.values()]
                background.append(tasks.create_task(self._commit()))
                await self._read(stop)
                await self._drain()
                for task in background:
                    task.cancel()
            await self._source.close()
        finally:
            for sink in self._sinks.values():
                sink.close()

    def report(self) -> dict[str, Any]:
        """Return counts and measurements, for people and monitors."""
        lag = self._source.lag()
        return {
            **self.telemetry.as_json(),
            "rebalances": self._source.rebalances,
            "outstanding": self._outstanding(),
            "lag": {f"{topic}/{partition}": n for (topic, partition), n in sorted(lag.items())},
            "streams": {
                lane.stream: {"queued": lane.queued, "in_flight": lane.in_flight}
                for lane in self._each_lane()
            },
            "waiting_for": {
                name: scorer.waiting_for
                for name, scorer in self._scorers.items()
                if scorer.waiting_for is not None
            },
        }

    def exposition(self) -> str:
        """Return the same as Prometheus metrics, in text format."""
        lanes = self._each_lane()
        self.telemetry.gauges(
            in_flight={lane.stream: lane.in_flight for lane in lanes},
            queued={lane.stream: lane.queued for lane in lanes},
            lag=self._source.lag(),
            outstanding=self._outstanding(),
        )
        return self.telemetry.exposition()

    def _each_lane(self) -> list[Lane]:
        return list(dict.fromkeys(self._lanes.values()))

    def _outstanding(self) -> int:
        return sum(sink.outstanding for sink in self._sinks.values())

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
        # Messages come in stretches of one partition.
        for place, stretch in groupby(messages, _place):
            claim = self._claims.get(place)
            if claim is not None:  # else it was given up in this very read
                records = [_record(claim, message, now) for message in stretch]
                claim.take(len(records))
                by_lane[self._lanes[claim.topic]] += records
        for lane, several in by_lane.items():
            self.telemetry.received(lane.stream, len(several))
            lane.put(several)

    async def _hold_back(self) -> None:
        full = {lane for lane in self._each_lane() if lane.full}
        if full - self._paused.keys():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for lane in full - self._paused.keys():
                        await lane.wait_for_room()
        self._note_paused(
            [
                lane
                for lane in self._each_lane()
                if lane.full or (lane in self._paused and not lane.has_room)
            ]
        )
        await self._source.pause(
            [claim.place for claim in self._claims if self._lanes[claim.topic] in self._paused]
        )

    def _note_paused(self, lanes: list[Lane]) -> None:
        now = time.monotonic()
        for lane in self._paused.keys() - set(lanes):
            self.telemetry.credit_waited(lane.stream, now - self._paused[lane])
        self._paused = {lane: self._paused.get(lane, now) for lane in lanes}

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
        for lane in self._each_lane():
            lane.close()
        claims = list(self._claims)
        self._discard(claims)
        await self._settle(claims, DRAIN_SECONDS)

    def _discard(self, claims: list[Claim]) -> None:
        for lane in self._each_lane():
            lane.discard(claims)

    async def _settle(self, claims: list[Claim], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not all(claim.settled for claim in claims):
                    self._acknowledged.clear()
                    await self._acknowledged.wait()


def record_topics(config: ClusterConfig) -> list[str]:
    """Return the topics that records are read from."""
    dedicated = [topic for data_type in config.data_types.values() for topic in data_type.topics]
    return [*dedicated, *config.kafka.mixed_topics]


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
