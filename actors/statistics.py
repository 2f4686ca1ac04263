"""How often and how fast a model answers, since it is on stage."""

from collections.abc import Mapping
from typing import Any, Self

from repertory.actors.sketches import Packed, add_packed, new_sketch, pack

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


class Statistics:
    """Counts and times of one model on stage. Times are milliseconds, fractions kept.

    `duration` is the time spent scoring. `min`, `max` and the percentiles are of what a record
    waited for its score once it was taken in hand, which is the time of the batch that it was in.
    """

    def __init__(self) -> None:
        self.usage = 0
        self.errors = 0
        self.batches = 0
        self._duration = 0.0
        self._min = 0.0
        self._max = 0.0
        self._sketch = new_sketch()

    def count(self, records: int, errors: int, milliseconds: float) -> None:
        """Count a batch of `records`, of which `errors` failed."""
        if records == 0:
            return
        self._min = min(self._min, milliseconds) if self.usage else milliseconds
        self._max = max(self._max, milliseconds)
        self.usage += records
        self.errors += errors
        self.batches += 1
        self._duration += milliseconds
        self._sketch.add(milliseconds, records)

    @classmethod
    def read(cls, told: Mapping[str, Any], sketch: Packed | None) -> Self:
        """Return what was told by `as_json` and `sketch`; without the latter, without percentiles."""
        read = cls()
        read.usage, read.errors, read.batches = told["usage"], told["errors"], told["batches"]
        read._duration, read._min, read._max = told["duration"], told["min"], told["max"]
        if sketch is not None:
            add_packed(read._sketch, sketch)
        return read

    def merge(self, other: Self) -> None:
        """Count what another counted."""
        if other.usage == 0:
            return
        self._min = min(self._min, other._min) if self.usage else other._min
        self._max = max(self._max, other._max)
        self.usage += other.usage
        self.errors += other.errors
        self.batches += other.batches
        self._duration += other._duration
        self._sketch.merge(other._sketch)

    def sketch(self) -> dict[str, Any]:
        """Return what percentiles are made of, for JSON."""
        return pack(self._sketch)

    def as_json(self) -> dict[str, Any]:
        """Return the fields of `/state`; percentiles are 0 before the first record."""
        return {
            "usage": self.usage,
            "duration": self._duration,
            "min": self._min,
            "max": self._max,
            "errors": self.errors,
            "batches": self.batches,
            "percentiles": {
                name: self._sketch.get_quantile_value(quantile) or 0.0
                for name, quantile in QUANTILES.items()
            },
        }
