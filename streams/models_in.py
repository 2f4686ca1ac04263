"""Models and policies in: what is published to the models topic goes to the keeper, once each.

Only where the journal is SQLite; a journal that is the topic itself is read by the keeper.
"""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Message, Producer
from google.protobuf.message import DecodeError

from repertory.actors.client import RouterClient
from repertory.actors.process import NodeProcess
from repertory.config import MEBIBYTE
from repertory.errors import (
    FailureCode,
    InvalidRequest,
    JournalError,
    NotFound,
    PublishRejected,
    RequestFailed,
    UnknownDataType,
)
from repertory.journal.clock import epoch_ms
from repertory.journal.kafka import MESSAGE_TYPE, POLICY
from repertory.journal.topic import topic_losses
from repertory.protos.policy_pb2 import Policy
from repertory.streams.dead_letters import Place, headers_of, letter_headers, letter_value
from repertory.streams.outgoing import OVERHEAD_BYTES
from repertory.streams.record import Headers
from repertory.streams.source import SourceFailed, consumer_properties, is_fatal
from repertory.streams.topics import Topic

READ_SECONDS = 0.2
ASK_SECONDS = 30.0
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 5.0
MOST_POLICY_BYTES = MEBIBYTE // 4  # far over any that people write

# The keeper refuses these for good: they say something of the model, not of the moment.
_REFUSALS = (InvalidRequest, NotFound, PublishRejected, UnknownDataType)

log = structlog.get_logger(__name__)


class ModelIntake:
    """Takes models and policies from kafka.models_topic, and has the keeper publish them in turn.

    Each node reads all of them, as a consumer group of its own. A message is committed once the
    keeper has it; the keeper knows it by its place (`origin`), so that asking twice is harmless.
    What is refused goes to the dead letters. A message without a value retires the data type that
    is its key; one with another key removes something else from a compacted topic, and is passed
    over with a warning. A policy has the header `message-type: policy`; without a value, it says
    that its key is to have none.
    """

    def __init__(self, process: NodeProcess, client: RouterClient, dead_letters: Topic) -> None:
        kafka = process.config.kafka
        group = f"{kafka.group_id}-models-{process.node}"
        self._topic = kafka.models_topic
        self._properties = kafka.client_properties()
        self._dead_letters_topic = kafka.dead_letters_topic
        self._limit = dead_letters.max_bytes - OVERHEAD_BYTES
        self._spool = process.paths.spool
        self._client = client
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._consumer = Consumer(
            consumer_properties(kafka, group, group)
            | {
                "queued.min.messages": 1,
                "fetch.min.bytes": 1,
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": 1024,
                "receive.message.max.bytes": 2_000 * MEBIBYTE,  # the keeper says what is too large
                "max.poll.interval.ms": 86_400_000,  # a keeper that is away is waited for
            }
        )
        self._producer = Producer(
            {
                **kafka.client_properties(),
                "log_level": 2,
                "message.max.bytes": max(dead_letters.max_bytes, 1000),
                "enable.idempotence": True,
                "message.timeout.ms": 0,
            }
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises SourceFailed when only a new process can go on."""
        await asyncio.to_thread(self._warn_of_losses)
        await self._call(self._consumer.subscribe, [self._topic])
        while not stop.is_set():
            message = await self._call(self._consumer.poll, READ_SECONDS)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if is_fatal(error):
                    raise SourceFailed(error.str())
                log.warning("the models topic cannot be read", why=error.str())
            elif await self._take(message, stop):
                await self._commit(message)
        await self._call(self._consumer.close)

    async def _take(self, message: Message, stop: asyncio.Event) -> bool:
        """Do what a message says; return whether it is done with."""
        headers, backoff = headers_of(message), FIRST_BACKOFF  # they are not to be had twice
        while not stop.is_set():
            try:
                await self._hand_over(message, headers)
                return True
            except _REFUSALS as error:
                await self._refuse(message, headers, str(error))
                return True
            except (RequestFailed, OSError) as error:
                log.warning("a model waits", origin=_origin(message), why=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await stop.wait()
            backoff = min(2 * backoff, LAST_BACKOFF)
        return False

    async def _hand_over(self, message: Message, headers: Headers) -> None:
        value = message.value()
        if (MESSAGE_TYPE, POLICY.encode()) in headers:
            await self._set_policy(message, value or b"")
        elif value is None:
            await self._retire(message)
        else:
            await self._publish(message, value)

    async def _refuse(self, message: Message, headers: Headers, reason: str) -> None:
        origin = _origin(message)
        if message.value() is None:
            key = repr(message.key())
            log.warning(
                "a message without a value is passed over", origin=origin, key=key, why=reason
            )
            return
        log.warning("a model is refused", origin=origin, why=reason)
        await self._call(self._bury, message, headers, reason)

    async def _publish(self, message: Message, value: bytes) -> None:
        origin = _origin(message)
        path = self._spool / f"{origin.replace('/', '-')}.descriptor"
        await self._call(_write, path, value)
        try:
            answer = await self._client.ask(
                "publish",
                timeout=ASK_SECONDS,
                descriptor_file=str(path),
                origin=origin,
                wait=False,
            )
        finally:
            path.unlink(missing_ok=True)
        if answer.get("state") == "REJECTED":
            raise PublishRejected(str(answer.get("reason")))
        log.info("a model is handed to the keeper", origin=origin, answer=answer)

    async def _retire(self, message: Message) -> None:
        answer = await self._client.ask(
            "retire",
            timeout=ASK_SECONDS,
            data_type=_key(message),
            origin=_origin(message),
            wait=False,
        )
        log.info("a data type is retired", origin=_origin(message), answer=answer)

    async def _set_policy(self, message: Message, value: bytes) -> None:
        policy = _policy(value)
        answer = await self._client.ask(
            "policy",
            timeout=ASK_SECONDS,
            data_type=policy.dataType or _key(message),
            settings=policy.settings,
            description=policy.description,
            origin=_origin(message),
            wait=False,
        )
        log.info("a policy is handed to the keeper", origin=_origin(message), answer=answer)

    def _warn_of_losses(self) -> None:
        with contextlib.suppress(JournalError):
            if (what := topic_losses(self._properties, self._topic)) is not None:
                log.warning(
                    "the models topic is not kept whole; this node keeps what it has read, but one"
                    " that starts later sees less, and gives other version numbers",
                    topic=self._topic,
                    lost=what,
                )

    async def _commit(self, message: Message) -> None:
        try:
            await self._call(lambda: self._consumer.commit(message=message, asynchronous=False))
        except KafkaException as error:
            log.warning("not committed; the model is read again", why=error.args[0].str())

    def _bury(self, message: Message, headers: Headers, reason: str) -> None:
        """Write a dead letter, and wait until the broker has it."""
        headers = letter_headers(
            headers,
            code=FailureCode.REJECTED,
            reason=reason,
            source=Place(message.topic() or "", message.partition() or 0, message.offset() or 0),
            data_type="",
            model=None,
            failed_ms=epoch_ms(),
        )
        key, limit = message.key(), self._limit
        value, headers = letter_value(message.value(), headers, limit=limit, key=key)
        _, timestamp = message.timestamp()
        self._producer.produce(
            self._dead_letters_topic, value, key, headers=headers, timestamp=max(0, timestamp)
        )
        self._producer.flush()

    async def _call(self, function: Any, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)


def _origin(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def _key(message: Message) -> str:
    return (message.key() or b"").decode(errors="replace")


def _policy(value: bytes) -> Policy:
    """Return the policy in a message. Raises InvalidRequest."""
    if len(value) > MOST_POLICY_BYTES:
        raise InvalidRequest(
            f"a policy of {len(value)} bytes is over the limit of {MOST_POLICY_BYTES}"
        )
    try:
        return Policy.FromString(value)
    except DecodeError as error:
        raise InvalidRequest(f"the value is no Policy message: {error}") from error


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.rename(path)
