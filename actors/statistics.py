"""How often and how fast a model answers, since it is on stage."""

from typing import Any

from ddsketch import DDSketch

# Quantiles are within 1 % of the true value; sketches of several replicas can be merged.
RELATIVE_ACCURACY = 0.01
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
        self._sketch = DDSketch(RELATIVE_ACCURACY)

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
