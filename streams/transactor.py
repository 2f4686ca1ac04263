"""One transactional producer: messages and offsets that are committed together, or not at all."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition

from repertory.streams.outgoing import Outgoing
from repertory.streams.sink import DeliveryFailed, produce

# What a broker is waited for in one call; the calls are repeated.
ANSWER_SECONDS = 5.0
# A call that has not come back by then never will: librdkafka 2.16 waits for ever for a group
# coordinator that left the cluster (its issues 5456 and 5511).
HANG_SECONDS = 2 * ANSWER_SECONDS
CLOSE_SECONDS = 0.3


class Aborted(Exception):
    """The transaction was aborted; another one may succeed."""


class Transactor:
    """A producer of transactions, one after the other. Its blocking calls are made on `thread`.

    A transaction that fails is aborted, and then raises Aborted; DeliveryFailed is raised when only
    a new process can go on: another one took over the transactional id, a transaction took longer
    than its timeout, or librdkafka hangs.
    """

    def __init__(self, properties: Mapping[str, Any], thread: ThreadPoolExecutor) -> None:
        # By default a producer that reaches no broker forgets all and begins anew, and then waits
        # for the group coordinator it has forgotten (see HANG_SECONDS).
        self._producer = Producer({**properties, "metadata.recovery.strategy": "none"})
        self._thread = thread

    async def take_over(self) -> None:
        """End the transaction of a predecessor of the same id, and have any further ones refused."""
        try:
            await self._persist(self._producer.init_transactions)
        except KafkaException as error:
            raise DeliveryFailed(f"transactions cannot be begun: {error.args[0].str()}") from error

    async def begin(self, group_metadata: Callable[[], Any]) -> Any:
        """Begin a transaction, and return what the consumer was in its group before it."""

        def begin() -> Any:
            metadata = group_metadata()
            self._producer.begin_transaction()
            return metadata

        try:
            return await self._call(begin)
        except KafkaException as error:
            raise await self._aborted(error) from error

    async def commit(
        self, messages: Sequence[Outgoing], offsets: list[TopicPartition], metadata: Any
    ) -> None:
        """Write messages, in order, and the offsets of their records, and commit both."""
        try:
            produce(self._producer, messages)
            await self._persist(
                lambda seconds: self._producer.send_offsets_to_transaction(
                    offsets, metadata, seconds
                )
            )
            await self._persist(self._producer.commit_transaction)
        except (KafkaException, BufferError) as error:
            raise await self._aborted(error) from error

    async def close(self) -> None:
        """Abort what is open, so that nobody has to wait for it; not if the brokers are silent."""

        def abort() -> None:
            with contextlib.suppress(KafkaException):  # there is none, for example
                self._producer.purge()
                self._producer.abort_transaction(CLOSE_SECONDS)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._run(abort)

    async def _aborted(self, why: Exception) -> Aborted:
        """Abort, and return what is to be raised then. Raises DeliveryFailed."""
        _raise_if_fatal(why)
        try:
            await self._persist(self._producer.abort_transaction)
        except KafkaException as error:
            _raise_if_fatal(error)
            raise DeliveryFailed(f"a transaction cannot be aborted: {error}") from error
        return Aborted(str(why))

    async def _persist(self, function: Callable[[float], object]) -> None:
        """Call until the brokers answer. Raises KafkaException when a repetition would not help."""
        while True:
            try:
                await self._call(function, ANSWER_SECONDS)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                return await self._run(function, *arguments)
        except TimeoutError as error:
            raise DeliveryFailed("a transaction hangs in the Kafka client") from error

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _raise_if_fatal(error: Exception) -> None:
    if isinstance(error, KafkaException) and error.args[0].fatal():
        raise DeliveryFailed(
            "the brokers take no more transactions of this face; another process has its"
            f" transactional id, or a transaction took too long: {error.args[0].str()}"
        ) from error
