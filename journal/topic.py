"""The Kafka topic that is a journal: made when it is missing, refused when it would lose entries."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from repertory.errors import JournalError

ANSWER_SECONDS = 10.0  # how long a broker may take to answer a question about a topic
GLANCE_SECONDS = 2.0  # … when it is asked again and again

# Model versions are offsets, and a roll back may go to any of them: nothing may ever be removed.
# Compaction keeps the newest message of each key, and the keys are not ours to choose: whoever
# publishes does, most with the data type, so that all versions but one would go.
_KEEP_ALL = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

_log = structlog.get_logger(__name__)


def examine_topic(properties: Mapping[str, Any], topic: str) -> None:
    """Check that the topic, which was prepared before, is still there and can be a journal."""
    found = _Topic(properties, topic)
    partitions = found.partitions(GLANCE_SECONDS)
    if partitions is None:
        raise JournalError(
            f"{found.where}: is gone; restore it, or start over with another topic and data_dir"
        )
    found.refuse_split(partitions)
    found.refuse_loss(warn=False)


def topic_losses(properties: Mapping[str, Any], topic: str) -> str | None:
    """Return in words what the brokers will remove from a topic, or None when that is nothing.

    None, too, when they do not say. Raises JournalError when the properties are wrong.
    """
    return _Topic(properties, topic).losses()


def prepare_topic(
    properties: Mapping[str, Any], topic: str, *, create: bool, max_bytes: int
) -> None:
    """Create the topic when it is missing (if `create`), and check that it can be a journal.

    Raises JournalError when no broker answers, the topic is missing, has more than one partition,
    or is configured to remove entries; the message says how to mend it.
    """
    found = _Topic(properties, topic)
    partitions = found.partitions()
    if partitions is None:
        if not create:
            raise JournalError(f"{found.where}: is missing; create it, or set kafka.create_topics")
        found.create(max_bytes)
        partitions = found.wait_until_there()
    found.refuse_split(partitions)
    found.refuse_loss()


class _Topic:
    """A topic, as an administrator sees it. Everything raises JournalError."""

    def __init__(self, properties: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.where = f"topic {name!r} at {properties['bootstrap.servers']}"
        self._cause = ""  # what librdkafka said last
        self._hint = "start it, or mend kafka.bootstrap_servers"
        settings: dict[str, Any] = {**properties, "error_cb": self._note}
        try:
            self._admin = AdminClient(settings, logger=logging.getLogger(__name__))
        except KafkaException as error:
            raise JournalError(
                f"{self.where}: {error.args[0].str()}; mend kafka.properties"
            ) from error

    def partitions(self, patience: float | None = None) -> int | None:
        """Return how many there are; None when the topic is missing."""
        patience = ANSWER_SECONDS if patience is None else patience
        try:
            # All topics, since asking for one by name could create it.
            found = self._admin.list_topics(timeout=patience).topics.get(self.name)
        except KafkaException as error:
            self._admin.poll(0)  # lets librdkafka tell the cause: refused, not authorised, …
            raise JournalError(
                f"{self.where}: no broker answers: {self._cause or error.args[0].str()};"
                f" {self._hint}"
            ) from error
        return None if found is None or not found.partitions else len(found.partitions)

    def create(self, max_bytes: int) -> None:
        """Create the topic such that nothing is ever removed."""
        topic = NewTopic(
            self.name,
            num_partitions=1,
            config=_KEEP_ALL | {"max.message.bytes": str(max_bytes)},
        )
        futures = self._admin.create_topics([topic], request_timeout=ANSWER_SECONDS)
        try:
            futures[self.name].result()
        except KafkaException as error:
            # Another node was faster: what it made is checked like any other.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise JournalError(
                    f"{self.where}: cannot be created: {error.args[0].str()}; create it by hand"
                    f" with one partition and {_flags()}"
                ) from error

    def wait_until_there(self) -> int:
        """Return how many partitions there are, once the brokers agree that there are some."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (partitions := self.partitions()) is None:
            if time.monotonic() > deadline:
                raise JournalError(f"{self.where}: was created, but is not shown; try again")
            time.sleep(0.05)
        return partitions

    def refuse_split(self, partitions: int) -> None:
        """Raise when there is more than one partition."""
        if partitions != 1:
            raise JournalError(
                f"{self.where}: has {partitions} partitions, so that its entries have no one order;"
                " name another topic in kafka.models_topic (it is created with one), or use"
                " journal.kind: sqlite, which takes models from any topic"
            )

    def refuse_loss(self, *, warn: bool = True) -> None:
        """Raise when the brokers would remove entries of the topic."""
        if (what := self.losses(warn=warn)) is not None:
            raise JournalError(
                f"{self.where}: {what} would be lost; mend it: kafka-configs.sh --alter"
                f" --entity-type topics --entity-name {self.name} --add-config {_flags()}"
            )

    def losses(self, *, warn: bool = True) -> str | None:
        """Return what of the topic the brokers would remove; None, with a warning, if unknown."""
        resource = ConfigResource(ResourceType.TOPIC, self.name)
        futures = self._admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)
        try:
            config = {name: entry.value for name, entry in futures[resource].result().items()}
        except KafkaException as error:
            # Often forbidden to clients; the topic may well be right.
            reason = error.args[0].str()
            (_log.warning if warn else _log.debug)(
                "what a topic loses is not known", topic=self.name, why=reason
            )
            return None
        if "compact" in config.get("cleanup.policy", ""):
            return "is compacted: of each key, all but the newest entry"
        if "delete" in config.get("cleanup.policy", "delete"):
            for name in ("retention.ms", "retention.bytes"):
                if (value := config.get(name, "-1")) != "-1":
                    return f"has {name}={value}: in time, models that are in use"
        return None

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            self._hint = "mend kafka.properties, or kafka.password"
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._cause:
            return  # which is no cause
        self._cause = error.str()


def _flags() -> str:
    return ",".join(f"{name}={value}" for name, value in _KEEP_ALL.items())
