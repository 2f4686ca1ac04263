"""Taking partitions over from another node: how far it came, and an end to what it left open."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from repertory.config import Kafka
from repertory.streams.claims import Claim, Claims, Place
from repertory.streams.notes import Note, read_note
from repertory.streams.source import Source, instance_id
from repertory.streams.transactional_sink import TRANSACTION_MS, transactional_ids

ASK_SECONDS = 2.0
FENCE_SECONDS = 5.0
AGAIN_SECONDS = 0.1

log = structlog.get_logger(__name__)


class Takeover:
    """Makes claims ready: it asks what their last owners committed.

    A node that vanished may have left a transaction open, which holds up whoever takes its
    partitions over until it times out: 15 seconds, and then up to ten more until brokers notice.
    With `transactional`, the transactions of nodes that owned such a partition and are no members of
    the group any more are aborted at once, as these nodes themselves would after a restart. If one
    of them was only frozen, it is refused from then on, and begins anew.

    `inherited` is told the floors of each partition before its records may be read.
    """

    def __init__(
        self,
        kafka: Kafka,
        source: Source,
        claims: Claims,
        *,
        node: str,
        transactional: bool,
        inherited: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._properties = kafka.client_properties() | {"log_level": 2}
        self._group, self._node = kafka.group_id, node
        self._consumer = source.consumer
        self._due = source.assigned
        self._claims = claims
        self._transactional = transactional
        self._inherited = inherited
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="takeover")

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if claims := [claim for claim in self._claims if not claim.ready]:
                await self._take(claims)

    async def close(self) -> None:
        """Wait for the end of a question that is under way: no consumer is closed meanwhile."""
        await asyncio.get_running_loop().run_in_executor(self._thread, int)
        self._thread.shutdown(wait=False)

    async def _take(self, claims: list[Claim]) -> None:
        loop = asyncio.get_running_loop()
        places = [claim.place for claim in claims]
        try:
            notes = await loop.run_in_executor(self._thread, self._ask, places)
        except KafkaException as error:
            log.warning("committed offsets are not known yet", why=str(error), partitions=places)
            await asyncio.sleep(AGAIN_SECONDS)
            self._due.set()
            return
        for claim in claims:
            note = notes.get(claim.place, Note())
            self._inherited(note.floors)
            claim.inherit(note.floors)

    # --- on the thread

    def _ask(self, places: list[Place]) -> dict[Place, Note]:
        partitions = [TopicPartition(*place) for place in places]
        if self._transactional:
            try:
                self._end_what_is_left_open(partitions)
            except KafkaException as error:
                log.warning("transactions of other nodes may have to time out", why=str(error))
        # Waits while a transaction holds offsets of these partitions (KIP-447).
        return _notes(self._consumer.committed(partitions, timeout=ASK_SECONDS))

    def _end_what_is_left_open(self, partitions: list[TopicPartition]) -> None:
        admin = AdminClient(self._properties)
        asked = ConsumerGroupTopicPartitions(self._group, partitions)
        [found] = admin.list_consumer_group_offsets(
            [asked], require_stable=False, request_timeout=ASK_SECONDS
        ).values()
        owners = {note.node for note in _notes(found.result().topic_partitions).values()}
        if owners <= {"", self._node}:
            return
        [group] = admin.describe_consumer_groups(
            [self._group], request_timeout=ASK_SECONDS
        ).values()
        present = {member.group_instance_id for member in group.result().members}
        for node in owners - {"", self._node}:
            if instance_id(self._group, node) not in present:
                self._fence(node)

    def _fence(self, node: str) -> None:
        for each in transactional_ids(instance_id(self._group, node)):
            settings: dict[str, Any] = {
                "transactional.id": each,
                "transaction.timeout.ms": TRANSACTION_MS,
            }
            Producer(self._properties | settings).init_transactions(FENCE_SECONDS)
        log.info("transactions that a node may have left open are ended", node=node)


def _notes(partitions: Iterable[TopicPartition]) -> dict[Place, Note]:
    return {(each.topic, each.partition): read_note(each.metadata) for each in partitions}
