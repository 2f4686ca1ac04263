"""Records in: the consumer, on a thread of its own."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from repertory.config import Kafka
from repertory.errors import RepertoryError
from repertory.streams.causes import cause_of
from repertory.streams.claims import Claim, Claims, Place
from repertory.streams.commits import Commits
from repertory.streams.vigil import Vigil

READ_AT_MOST = 1000
# How long one read waits for a record: commands to the consumer wait for its end.
READ_SECONDS = 0.05
# A process that died is back in a second or two and takes its partitions up again at once, since
# it comes with the same instance id; this is for one that does not come back. Brokers allow no less
# (group.min.session.timeout.ms).
SESSION_MS = 6000
# How soon a member hears that others came or went, in each of the two rounds of a rebalance.
HEARTBEAT_MS = 500
# A consumer is in trouble that has had no connection, or no place in its group, for this long. A
# connection that is made anew takes a moment; a rebalance waits for all members.
CONNECT_SECONDS = 5.0
JOIN_SECONDS = 15.0
# What the brokers' answers are waited for when partitions are given up.
REVOKE_SECONDS = 3.0
# A process that did not run for so long may have lost its place in the group.
FROZEN_SECONDS = (SESSION_MS - 2 * HEARTBEAT_MS) / 1000
# How long it may take to give everything up when this node is not to come back soon.
LEAVE_SECONDS = 1.0

log = structlog.get_logger(__name__)

Revoked = Callable[[list[Place]], Coroutine[Any, Any, list[tuple[Claim, int]]]]


class SourceFailed(RepertoryError):
    """The consumer cannot go on, for example since another one took its place in the group."""


class Source:
    """A consumer of the record topics. All its calls into librdkafka are made on one thread.

    `claims` has what is assigned. Before partitions are given up, `revoked` is awaited; what it
    returns is committed.

    Where the group is `shared` with other nodes, what is assigned is not read before somebody has
    made its claim ready, and this one leaves the group when it is closed.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Collection[str],
        *,
        node: str,
        shared: bool,
        claims: Claims,
        revoked: Revoked,
    ) -> None:
        self._claims = claims
        self._shared = shared
        self._revoked = revoked
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="consumer")
        self._paused: set[Place] = set()
        self._ends: dict[Place, tuple[int, int]] = {}  # end of the log, and what is committed
        self._unread: set[Place] = set()
        self._group, self._servers = kafka.group_id, kafka.bootstrap_servers
        # When it was last seen to have a connection, and its place in the group.
        self._connected = self._steady = time.monotonic()
        self.joined = False
        """Whether it ever had its place in the group."""
        self._last_error = ""
        self._complained: set[int] = set()
        self._fatal: str | None = None
        self.rebalances = 0
        instance = instance_id(kafka.group_id, node)
        properties = consumer_properties(kafka, kafka.group_id, instance) | {
            "statistics.interval.ms": 1000,
            "stats_cb": self._statistics,
            "error_cb": self._error,
        }
        self._topics = list(topics)
        self.consumer = Consumer(properties)
        self.vigil = Vigil(FROZEN_SECONDS)
        self._coordinated = True
        self.commits = Commits(
            self.consumer, claims, node=node if shared else None, may=self._may_commit
        )
        self.assigned = asyncio.Event()
        """Set whenever there are claims that are not ready."""
        self.placed = asyncio.Event()
        """Set when partitions were assigned for the first time: the others know this member."""

    def subscribe(self) -> None:
        """Join the group; partitions are assigned while `read` is called."""
        self.consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def group_metadata(self) -> Any:
        """Return what this consumer is in its group, for a transaction. Any thread; may block."""
        return self.consumer.consumer_group_metadata()

    async def read(self) -> list[Message]:
        """Return the records that are there, waiting a moment for the first. May return none."""
        return await self._loop.run_in_executor(self._thread, self._read)

    async def pause(self, places: Collection[Place]) -> None:
        """Have `places` paused, and all others flow but those that are not ready."""
        claimed = {claim.place for claim in self._claims}
        waiting = {claim.place for claim in self._claims if not claim.ready}
        wanted = (set(places) & claimed) | waiting
        if wanted == self._paused:
            return
        to_pause, to_resume = wanted - self._paused, (self._paused - wanted) & claimed
        self._paused = wanted

        def change() -> None:
            with contextlib.suppress(KafkaException):  # lost meanwhile
                self.consumer.pause(_partitions(to_pause))
            with contextlib.suppress(KafkaException):
                self.consumer.resume(_partitions(to_resume))

        await self._loop.run_in_executor(self._thread, change)

    def _may_commit(self) -> bool:
        """Return whether a commit would be sent at once.

        What waits in the client library for a coordinator is sent with the generation that the
        group has then, even if the partitions were lost meanwhile. Raises Frozen.
        """
        if self._shared:
            self.vigil.check()
        return self._coordinated or not self._shared

    def trouble(self) -> str | None:
        """Return what keeps the consumer from its work; None when nothing does, for long."""
        now = time.monotonic()
        if self.joined and now - self._connected > CONNECT_SECONDS:
            why = self._last_error or "nothing is told of why"
            return (
                f"the consumer has no connection to {self._servers}: {why};"
                " it goes on as soon as a broker answers"
            )
        if now - self._steady > JOIN_SECONDS:
            why = self._last_error or "the brokers do not answer its requests to join"
            return (
                f"the consumer has no place in its group {self._group!r} at {self._servers}: {why};"
                " see the brokers' logs if this lasts"
            )
        return None

    def lag(self) -> dict[Place, int]:
        """Return how many records of each claim are not done, as far as is known."""
        lag = {}
        for claim in self._claims:
            end, committed = self._ends.get(claim.place, (-1, -1))
            position = committed if claim.position is None else claim.position
            if claim.settled and claim.place not in self._unread:
                position = end  # what is left are marks of transactions, which are no records
            if end >= 0 and position >= 0:
                lag[claim.place] = max(0, end - position)
        return lag

    async def close(self) -> None:
        """Give everything up, which commits what is done, and end."""
        await self.commits.close()
        try:
            await self._loop.run_in_executor(self._thread, self._close)
        finally:
            self._thread.shutdown(wait=False)

    # --- on the consumer's thread

    def _read(self) -> list[Message]:
        # consume() with a timeout would wait for all the messages it may return.
        first = self.consumer.poll(READ_SECONDS)
        if self._fatal is not None:
            raise SourceFailed(self._fatal)
        if first is None:
            return []
        messages = [first, *self.consumer.consume(READ_AT_MOST - 1, 0)]
        return [message for message in messages if self._is_record(message)]

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            self._error(error)
        return error is None

    def _close(self) -> None:
        if self._shared:
            # A static member does not leave when it is closed: its place is kept until its session
            # has ended, and the others would have to wait for that. It leaves when it unsubscribes.
            self.consumer.unsubscribe()
            deadline = time.monotonic() + LEAVE_SECONDS
            while self.consumer.memberid() and time.monotonic() < deadline:
                self.consumer.poll(LEAVE_SECONDS / 50)
        self.consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._shared:
            consumer.incremental_assign(partitions)
            consumer.pause(partitions)
        self._loop.call_soon_threadsafe(self._assigned, _places(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = _places(partitions)
        finishing = asyncio.run_coroutine_threadsafe(self._revoked(places), self._loop)
        try:
            positions = finishing.result(REVOKE_SECONDS)
        except TimeoutError:  # the loop is stuck; nothing is committed
            finishing.cancel()
            positions = []
        if positions:
            try:
                offsets = [self.commits.offset(claim, at) for claim, at in positions]
                consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                log.warning("not committed; the records are read again", why=str(error))
        self._give_up(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("partitions are lost", partitions=_places(partitions))
        self._give_up(consumer, partitions)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # A pause would still be in force if the partition came back.
        with contextlib.suppress(KafkaException):
            consumer.resume(partitions)
        self._loop.call_soon_threadsafe(self._released, _places(partitions))

    def _error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last_error = cause_of(error.str())
        if is_fatal(error):
            self._fatal = error.str()
        elif error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            return  # told by the statistics
        elif error.code() not in self._complained:
            self._complained.add(error.code())
            log.error("the consumer has trouble", why=error.str(), code=error.name())

    def _statistics(self, text: str) -> None:
        statistics: dict[str, Any] = orjson.loads(text)
        group = statistics.get("cgrp", {})
        self._coordinated = group.get("state") == "up"
        if any(b["state"] in ("UP", "UPDATE") for b in statistics["brokers"].values()):
            self._connected = time.monotonic()
            if group.get("join_state") == "steady":
                self._steady, self.joined = self._connected, True
                self._last_error = ""
                self._complained.clear()
        partitions = {
            (topic, int(number)): partition
            for topic, facts in statistics["topics"].items()
            for number, partition in facts["partitions"].items()
        }
        self._ends = {
            place: (each["hi_offset"], each["committed_offset"])
            for place, each in partitions.items()
        }
        self._unread = {
            place
            for place, each in partitions.items()
            if each["fetchq_cnt"] or each["next_offset"] < each["ls_offset"]
        }

    # --- in the loop

    def _assigned(self, places: list[Place]) -> None:
        self.rebalances += 1
        self._claims.add(places, ready=not self._shared)
        self.placed.set()
        if self._shared:
            self._paused.update(places)
            self.assigned.set()
        if places:
            log.info("partitions are assigned", partitions=places)

    def _released(self, places: list[Place]) -> None:
        self.rebalances += 1
        self._claims.release(places)
        self._paused.difference_update(places)
        log.info("partitions are given up", partitions=places)


def consumer_properties(kafka: Kafka, group: str, instance: str) -> dict[str, Any]:
    """Return the properties of a consumer that commits itself, and is a static group member."""
    return {
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        # Under load the brokers answer when there is enough, and not for each few records: at tens
        # of thousands a second that halves their work, and the latency. The price is 10 ms, at most,
        # while there is little. (A resumed partition waits for the request under way, too.)
        "fetch.min.bytes": 64 * 1024,
        "fetch.wait.max.ms": 10,
        "fetch.queue.backoff.ms": 20,
        # What is read ahead is thrown away when a partition is paused.
        "fetch.message.max.bytes": 256 * 1024,
        "queued.min.messages": 10_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 10_000,  # topics that are made anew
        "log_level": 2,  # this class tells when brokers come and go
        **kafka.client_properties(),
        "group.id": group,
        "group.instance.id": instance,
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }


def instance_id(group: str, node: str) -> str:
    """Return what a node's consumer is called in its group: the same after each restart."""
    return f"{group}-{node}"


def is_fatal(error: KafkaError) -> bool:
    """Whether a client with this error is of no use any more."""
    return error.fatal() or error.code() == KafkaError._FATAL


def _places(partitions: Iterable[TopicPartition]) -> list[Place]:
    return [(each.topic, each.partition) for each in partitions]


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]
