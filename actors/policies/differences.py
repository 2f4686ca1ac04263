"""How far two answers are apart, of very many records, in little memory."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from repertory.actors.sketches import RELATIVE_ACCURACY

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

# A bin is this many times as wide as the one below it, see Differences.
_GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
_PER_BIN = math.log(_GAMMA)
# What is less is counted as 0, and what is more with the most: 24 orders of magnitude, 22 KB.
_LEAST, _MOST = 1e-12, 1e12
_LOWEST = math.ceil(math.log(_LEAST) / _PER_BIN)
_BINS = math.ceil(math.log(_MOST) / _PER_BIN) - _LOWEST + 1


class Differences:
    """Numbers of 0 or more, with their mean, largest and quantiles.

    Quantiles are within 1 %, and those of two halves merged are those of the whole: the bins are
    DDSketch's (Masson, Rim, Lee: DDSketch, VLDB 2019), counted by array and not by number.
    """

    def __init__(self) -> None:
        self.count = 0
        self._zeros = 0
        self._bins = np.zeros(_BINS, np.int64)
        self._sum = 0.0
        self._max = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Count numbers, all of them finite."""
        if not values.size:
            return
        large = values[values > _LEAST]
        keys = np.ceil(np.log(large) * (1 / _PER_BIN)).astype(np.intp) - _LOWEST
        self._bins += np.bincount(np.clip(keys, 0, _BINS - 1), minlength=_BINS)
        self._zeros += values.size - large.size
        self.count += values.size
        self._sum += float(values.sum())
        self._max = max(self._max, float(values.max()))

    def merge(self, other: Self) -> None:
        """Count what another counted."""
        self._bins += other._bins
        self._zeros += other._zeros
        self.count += other.count
        self._sum += other._sum
        self._max = max(self._max, other._max)

    def pack(self) -> dict[str, Any]:
        """Return all that was counted, for JSON."""
        bins = [(number, int(self._bins[number])) for number in np.flatnonzero(self._bins).tolist()]
        return {
            "count": self.count,
            "zeros": self._zeros,
            "bins": bins,
            "sum": self._sum,
            "max": self._max,
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Self:
        """Return what was packed."""
        found = cls()
        found.count, found._zeros = packed["count"], packed["zeros"]
        found._sum, found._max = packed["sum"], packed["max"]
        for number, count in packed["bins"]:
            found._bins[number] = count
        return found

    def quantile(self, quantile: float) -> float:
        """Return a quantile, 0 when nothing was counted."""
        rank = quantile * (self.count - 1)
        if rank < self._zeros:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._bins) + self._zeros, rank, side="right"))
        return min(self._max, _GAMMA ** (place + _LOWEST) * 2 / (1 + _GAMMA))

    def as_json(self) -> dict[str, Any]:
        """Return the mean, the quantiles, and the largest of at least one number."""
        return {
            "mean": self._sum / self.count,
            **{name: self.quantile(quantile) for name, quantile in QUANTILES.items()},
            "max": self._max,
        }
