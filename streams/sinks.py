"""The sinks of the guarantees that are in use."""

from collections.abc import Callable, Mapping
from typing import Any

from repertory.config import Delivery, Kafka
from repertory.streams.acknowledged_sink import AcknowledgedSink
from repertory.streams.sink import Sink
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic
from repertory.streams.transactional_sink import TransactionalSink


class Sinks:
    """Makes one sink for each guarantee that is asked for."""

    def __init__(
        self,
        kafka: Kafka,
        topics: Mapping[str, Topic],
        telemetry: StreamTelemetry,
        *,
        transactional_id: str,
        group_metadata: Callable[[], Any],
        acknowledged: Callable[[], None],
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._telemetry = telemetry
        self._transactional_id = transactional_id
        self._group_metadata = group_metadata
        self._acknowledged = acknowledged
        self._by_delivery: dict[Delivery, Sink] = {}
        self.made: list[Sink] = []

    def of(self, delivery: Delivery) -> Sink:
        """Return the sink of a guarantee."""
        if delivery not in self._by_delivery:
            self._by_delivery[delivery] = self._make(delivery)
            self.made.append(self._by_delivery[delivery])
        return self._by_delivery[delivery]

    def _make(self, delivery: Delivery) -> Sink:
        if delivery == "at-least-once":
            return AcknowledgedSink(
                self._kafka, self._topics, self._telemetry, acknowledged=self._acknowledged
            )
        return TransactionalSink(
            self._kafka,
            self._topics,
            self._telemetry,
            transactional_id=self._transactional_id,
            group_metadata=self._group_metadata,
            acknowledged=self._acknowledged,
        )
