"""The sinks of the guarantees that are in use."""

from collections.abc import Callable, Mapping

from repertory.config import Delivery
from repertory.streams.sink import Sink


class Sinks:
    """Makes one sink for each guarantee that is asked for; `made` has them all."""

    def __init__(self, factories: Mapping[Delivery, Callable[[], Sink]]) -> None:
        self._factories = factories
        self._by_delivery: dict[Delivery, Sink] = {}

    def of(self, delivery: Delivery) -> Sink:
        """Return the sink of a guarantee."""
        if delivery not in self._by_delivery:
            self._by_delivery[delivery] = self._factories[delivery]()
        return self._by_delivery[delivery]

    @property
    def made(self) -> list[Sink]:
        """The sinks that were asked for."""
        return list(self._by_delivery.values())
