"""From samples of counters to rates. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Sample:
    """What the counters said at one time."""

    at: float
    """Seconds, of any clock."""
    records: int
    cpu: float
    """CPU seconds so far, of the contender."""
    broker_cpu: float


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two samples."""

    seconds: float
    records: int
    cpu: float
    broker_cpu: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def whole_steps(samples: Sequence[Sample]) -> Span | None:
    """Return what happened between the first and the last step of the count; None without two.

    Where counts move in steps (offsets that are committed every few seconds), a span from any time
    to any other would hold one step too many or too few.
    """
    steps = [after for before, after in pairwise(samples) if after.records > before.records]
    if len(steps) < 2:
        return None
    first, last = steps[0], steps[-1]
    return Span(
        last.at - first.at,
        last.records - first.records,
        last.cpu - first.cpu,
        last.broker_cpu - first.broker_cpu,
    )
