"""How often somebody may do something."""

import time
from collections import OrderedDict
from collections.abc import Callable

# Whoever comes from ever new addresses must not fill the memory.
MOST_CLIENTS = 10_000


class RateLimit:
    """A bucket of `burst` tokens for each client, filled up by `rate` a second."""

    def __init__(
        self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, when

    def take(self, client: str) -> bool:
        """Return whether a client may do it once more now."""
        now = self._clock()
        left, before = self._buckets.get(client, (float(self._burst), now))
        left = min(float(self._burst), left + (now - before) * self._rate)
        self._buckets[client] = (max(left - 1, 0.0) if left >= 1 else left, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1
