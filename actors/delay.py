"""Slowness on purpose, for trying out policies."""

import math
import random
import time

from repertory.config import SlotDelay


class Delay:
    """Sleeps before each answer, so long as the configuration says. Used by one thread.

    Sleeps are log-normal about the median, the common shape of service times with a heavy tail; the
    same seed gives the same ones, in order.
    """

    def __init__(self, config: SlotDelay) -> None:
        self._config = config
        self._random = random.Random(config.seed)

    def seconds(self) -> float:
        """Return how long the next one is."""
        config = self._config
        longer = math.exp(config.sigma * self._random.gauss(0, 1))
        return min(config.median_ms * longer, config.most_ms) / 1000

    def sleep(self) -> None:
        """Sleep."""
        time.sleep(self.seconds())
