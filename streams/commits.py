"""Commits of the consumer: what is done of each partition, and a note beside it."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from repertory.streams.claims import Claim, Claims
from repertory.streams.notes import Note, write_note

AGAIN_SECONDS = 0.05

log = structlog.get_logger(__name__)


class Commits:
    """Commits positions of claims, on a thread of its own: while partitions are given up, nothing
    else that waits for the brokers would be answered.

    `node` signs the notes; None: none are left, as there is nobody who would read them. `may` tells
    whether to commit now; it may raise what is to end this process.
    """

    def __init__(
        self, consumer: Consumer, claims: Claims, *, node: str | None, may: Callable[[], bool]
    ) -> None:
        self._consumer = consumer
        self._claims = claims
        self._node = node
        self._may = may
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commits")
        self._turn = asyncio.Lock()

    def offset(self, claim: Claim, position: int) -> TopicPartition:
        """Return what is to be committed of a claim."""
        return offset(claim, position, node=self._node, floors=claim.floors)

    async def commit(self) -> None:
        """Commit all that the broker does not have. What fails is left to the next call."""
        async with self._turn:
            waiting = [(claim, at, claim.floors) for claim, at in self._claims.uncommitted()]
            if not waiting or not self._may():
                return
            offsets = [self.offset(claim, position) for claim, position, _ in waiting]
            try:
                stored = await self._call(offsets)
            except KafkaException as error:
                log.warning("a commit failed and is tried again", why=str(error))
                return
            done = {(each.topic, each.partition) for each in stored if each.error is None}
            for claim, position, floors in waiting:
                if claim.place in done:
                    claim.committed, claim.noted = position, floors

    async def secure(self, claims: Collection[Claim]) -> None:
        """Return when the brokers have the floors of these claims, but those lost meanwhile."""
        self._may()
        while _behind(claims):
            await self.commit()
            if _behind(claims):
                await asyncio.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Wait for the end of a commit that is under way: no consumer is closed meanwhile."""
        await asyncio.get_running_loop().run_in_executor(self._thread, int)
        self._thread.shutdown(wait=False)

    async def _call(self, offsets: list[TopicPartition]) -> list[TopicPartition]:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread,
            lambda: self._consumer.commit(offsets=offsets, asynchronous=False) or [],
        )


def offset(
    claim: Claim, position: int, *, node: str | None, floors: Mapping[str, int]
) -> TopicPartition:
    """Return an offset to be committed, with a note, unless `node` is None."""
    if node is None:
        return TopicPartition(*claim.place, position)
    return TopicPartition(*claim.place, position, metadata=write_note(Note(node, floors)))


def _behind(claims: Iterable[Claim]) -> bool:
    return any(claim.floors != claim.noted and not claim.released for claim in claims)
