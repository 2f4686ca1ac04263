"""The topics that a face needs: made when missing, waited for, and watched."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from repertory.actors.troubles import Troubles
from repertory.config import Kafka
from repertory.errors import RepertoryError

ANSWER_SECONDS = 2.0  # of patience with one question, so that a stop is heeded soon
RETRY_SECONDS = 1.0
WATCH_SECONDS = 3.0
DEFAULT_MAX_BYTES = 1_048_588  # Kafka's own, when it may not be asked for

log = structlog.get_logger(__name__)


class TopicsNotReady(RepertoryError):
    """No broker answers, or a topic is missing; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What is known of a topic."""

    partitions: int
    max_bytes: int  # of a message


@dataclass(frozen=True, slots=True)
class NewTopicSpec:
    """How a topic is made when it is missing."""

    partitions: int
    config: Mapping[str, str]


class TopicWatch:
    """Looks after the topics `wanted`, and notes as a trouble when something is wrong with them.

    Missing ones are created if kafka.create_topics.
    """

    def __init__(
        self, kafka: Kafka, wanted: Mapping[str, NewTopicSpec], troubles: Troubles
    ) -> None:
        self._kafka = kafka
        self._wanted = wanted
        self._troubles = troubles
        self._cause = ""  # what librdkafka said last
        properties: dict[str, Any] = {"log_level": 2, "reconnect.backoff.max.ms": 1000}
        properties |= {**kafka.client_properties(), "error_cb": self._note}
        self._admin = AdminClient(properties)

    async def ready(self, stop: asyncio.Event) -> dict[str, Topic] | None:
        """Return the facts of the topics, once they are all there; None when stopped first."""
        while not stop.is_set():
            topics = await self._look()
            if topics is not None:
                found = {name: topic.partitions for name, topic in topics.items()}
                log.info("the topics are there", topics=found)
                return topics
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
        return None

    async def run(self) -> None:
        """Keep looking, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self._look()

    async def _look(self) -> dict[str, Topic] | None:
        try:
            topics = await asyncio.to_thread(prepare_topics, self._admin, self._kafka, self._wanted)
        except TopicsNotReady as error:
            # librdkafka tells the cause (refused, not authorised, …) apart from the failure.
            self._admin.poll(0)
            cause = f" ({self._cause})" if self._cause and self._cause not in str(error) else ""
            self._troubles.note("topics", f"{error}{cause}")
            return None
        self._cause = ""
        self._troubles.note("topics", None)
        return topics

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._cause = error.str()


def prepare_topics(
    admin: AdminClient, kafka: Kafka, wanted: Mapping[str, NewTopicSpec]
) -> dict[str, Topic]:
    """Return the facts of the topics, created where needed. Blocks. Raises TopicsNotReady."""
    found = _partitions(admin, kafka)
    missing = [name for name in wanted if name not in found]
    if missing and not kafka.create_topics:
        raise TopicsNotReady(
            f"missing at {kafka.bootstrap_servers}: {', '.join(missing)}; create what is missing,"
            " or set kafka.create_topics"
        )
    if missing:
        _create(admin, {name: wanted[name] for name in missing})
        found = _wait_until_there(admin, kafka, missing)
    return {name: Topic(found[name], _max_bytes(admin, name)) for name in wanted}


def _partitions(admin: AdminClient, kafka: Kafka) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise TopicsNotReady(
            f"no broker answers at {kafka.bootstrap_servers}: {error.args[0].str()};"
            " start it, or mend kafka.bootstrap_servers"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.partitions}


def _create(admin: AdminClient, missing: Mapping[str, NewTopicSpec]) -> None:
    new = [
        NewTopic(name, num_partitions=spec.partitions, config=dict(spec.config))
        for name, spec in missing.items()
    ]
    for name, future in admin.create_topics(new, request_timeout=ANSWER_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            # Another face was faster.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsNotReady(
                    f"topic {name!r} cannot be created: {error.args[0].str()}; create it by hand"
                ) from error


def _wait_until_there(admin: AdminClient, kafka: Kafka, names: list[str]) -> dict[str, int]:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not (found := _partitions(admin, kafka)).keys() >= set(names):
        if time.monotonic() > deadline:
            raise TopicsNotReady(f"created, but not shown by the brokers yet: {', '.join(names)}")
        time.sleep(0.05)
    return found


def _max_bytes(admin: AdminClient, topic: str) -> int:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    future = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource]
    try:
        return int(future.result()["max.message.bytes"].value)
    except (KafkaException, KeyError, ValueError):
        return DEFAULT_MAX_BYTES  # clients are often not allowed to ask
