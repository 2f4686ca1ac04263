"""The topics that a face needs: made when missing, waited for, and watched."""

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from repertory.actors.troubles import Troubles
from repertory.config import Kafka
from repertory.errors import RepertoryError
from repertory.streams.causes import cause_of
from repertory.streams.policies import doubts, fault

ANSWER_SECONDS = 2.0  # of patience with one question, so that a stop is heeded soon
RETRY_SECONDS = 1.0
WATCH_SECONDS = 3.0
DEFAULT_MAX_BYTES = 1_048_588  # Kafka's own, when it may not be asked for

log = structlog.get_logger(__name__)


class TopicsNotReady(RepertoryError):
    """No broker answers, or a topic is missing or wrong; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What is known of a topic."""

    partitions: int
    max_bytes: int  # of a message
    settings: Mapping[str, str] = field(default_factory=dict)
    """Empty when the brokers do not tell: clients are often not allowed to ask."""


@dataclass(frozen=True, slots=True)
class NewTopicSpec:
    """How a topic is made when it is missing."""

    partitions: int
    config: Mapping[str, str]


class TopicWatch:
    """Looks after the topics `wanted`, and notes as a trouble when something is wrong with them.

    Missing ones are created if kafka.create_topics. `records` are those of records.
    """

    def __init__(
        self,
        kafka: Kafka,
        wanted: Mapping[str, NewTopicSpec],
        troubles: Troubles,
        *,
        records: Collection[str],
    ) -> None:
        self._kafka = kafka
        self._wanted = wanted
        self._records = records
        self._troubles = troubles
        self._cause: KafkaError | None = None  # what librdkafka said last
        self._doubts: set[str] = set()
        properties: dict[str, Any] = {"log_level": 2, "reconnect.backoff.max.ms": 1000}
        properties |= {**kafka.client_properties(), "error_cb": self._note}
        self._admin = AdminClient(properties)

    async def ready(self, stop: asyncio.Event) -> dict[str, Topic] | None:
        """Return the facts of the topics, once all are there and right; None when stopped first."""
        while not stop.is_set():
            topics = await self._look()
            if topics is not None:
                found = {name: topic.partitions for name, topic in topics.items()}
                log.info("the topics are there", topics=found)
                return topics
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await stop.wait()
        return None

    async def run(self) -> None:
        """Keep looking, until cancelled: every few seconds, and sooner while there is trouble."""
        well = True
        while True:
            await asyncio.sleep(WATCH_SECONDS if well else RETRY_SECONDS)
            well = await self._look() is not None

    async def _look(self) -> dict[str, Topic] | None:
        try:
            topics = await asyncio.to_thread(prepare_topics, self._admin, self._kafka, self._wanted)
        except TopicsNotReady as error:
            # librdkafka tells the cause (refused, not authorised, …) apart from the failure.
            self._admin.poll(0)
            self._troubles.note("topics", self._explained(error))
            return None
        self._cause = None
        faults = [
            why
            for name, topic in topics.items()
            if (why := fault(self._kafka, name, topic.settings)) is not None
        ]
        self._troubles.note("topics", "; ".join(faults) or None)
        self._warn(topics)
        return None if faults else topics

    def _explained(self, error: TopicsNotReady) -> str:
        if not isinstance(error, NoBroker):
            return str(error)
        where = self._kafka.bootstrap_servers
        why = cause_of(self._cause.str()) if self._cause is not None else str(error)
        if self._cause is not None and self._cause.code() == KafkaError._AUTHENTICATION:
            mend = "mend kafka.properties, or kafka.password"
            return f"the brokers at {where} refuse the credentials: {why}; {mend}"
        return f"no broker answers at {where}: {why}; start it, or mend kafka.bootstrap_servers"

    def _warn(self, topics: Mapping[str, Topic]) -> None:
        """Log what is doubtful of the topics, once for as long as it is so."""
        found = {
            f"topic {name!r} {doubt}"
            for name, topic in topics.items()
            for doubt in doubts(self._kafka, name, topic.settings, records=self._records)
        }
        for doubt in sorted(found - self._doubts):
            log.warning("is this topic meant to be so?", what=doubt)
        self._doubts = found

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._cause = error


class NoBroker(TopicsNotReady):
    """No broker answers. Why is told by librdkafka apart from this, in its own time."""


def prepare_topics(
    admin: AdminClient, kafka: Kafka, wanted: Mapping[str, NewTopicSpec]
) -> dict[str, Topic]:
    """Return the facts of the topics, created where needed. Blocks. Raises TopicsNotReady."""
    found = _partitions(admin)
    missing = [name for name in wanted if name not in found]
    if missing and not kafka.create_topics:
        raise TopicsNotReady(
            f"{_are(missing)} missing at {kafka.bootstrap_servers};"
            f" create {'it' if len(missing) == 1 else 'them'}, or set kafka.create_topics"
        )
    if missing:
        _create(admin, kafka, {name: wanted[name] for name in missing})
        found = _wait_until_there(admin, kafka, missing)
    settings = _settings(admin, list(wanted))
    return {name: Topic(found[name], _max_bytes(settings[name]), settings[name]) for name in wanted}


def _are(names: list[str]) -> str:
    listed = ", ".join(map(repr, names))
    return f"topic {listed} is" if len(names) == 1 else f"topics {listed} are"


def _partitions(admin: AdminClient) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise NoBroker(error.args[0].str()) from error
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.partitions}


def _create(admin: AdminClient, kafka: Kafka, missing: Mapping[str, NewTopicSpec]) -> None:
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
                    f"topic {name!r} is missing at {kafka.bootstrap_servers}, and cannot be created:"
                    f" {cause_of(error.args[0].str())}; create it by hand"
                ) from error


def _wait_until_there(admin: AdminClient, kafka: Kafka, names: list[str]) -> dict[str, int]:
    deadline = time.monotonic() + ANSWER_SECONDS
    while not (found := _partitions(admin)).keys() >= set(names):
        if time.monotonic() > deadline:
            raise TopicsNotReady(
                f"{_are(names)} created, but not shown yet by {kafka.bootstrap_servers};"
                " it is looked for again"
            )
        time.sleep(0.05)
    return found


def _settings(admin: AdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    """Return the settings of topics; none where they are not told."""
    resources = {topic: ConfigResource(ResourceType.TOPIC, topic) for topic in topics}
    futures = admin.describe_configs([*resources.values()], request_timeout=ANSWER_SECONDS)
    settings: dict[str, dict[str, str]] = {}
    for topic, resource in resources.items():
        try:
            entries = futures[resource].result().items()
        except KafkaException:
            settings[topic] = {}
        else:
            settings[topic] = {name: entry.value for name, entry in entries}
    return settings


def _max_bytes(settings: Mapping[str, str]) -> int:
    try:
        return int(settings["max.message.bytes"])
    except (KeyError, ValueError):
        return DEFAULT_MAX_BYTES
