"""Latencies of the last seconds: what nodes have counted up to now, less what they had before."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from repertory.actors.sketches import Packed, gained, unpack

# Long enough that a record every other second draws a line, short enough to show a stall.
WINDOW_SECONDS = 5.0
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Latencies:
    """Percentiles of a data type over a window that slides; moments are seconds of any clock."""

    def __init__(self) -> None:
        self._seen: Mapping[str, Mapping[str, Any]] | None = None  # by node
        self._gains: deque[tuple[float, Packed]] = deque()

    def note(self, sketches: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Note what nodes have counted up to now, as `merged_details` tells it.

        A node that is seen for the first time adds nothing: nobody knows when it counted that.
        """
        seen, self._seen = self._seen, {**(self._seen or {}), **sketches}
        for node, sketch in sketches.items():
            before = (seen or {}).get(node)
            if before is not None:
                gain = gained(sketch["times"], before["times"] if _same(sketch, before) else None)
                self._gains.append((now, gain))
        while self._gains and self._gains[0][0] <= now - WINDOW_SECONDS:
            self._gains.popleft()

    def as_json(self) -> dict[str, float] | None:
        """Return the percentiles in milliseconds, by name; None when there were no records."""
        sketch = unpack(gain for _, gain in self._gains)
        found = {name: sketch.get_quantile_value(each) for name, each in QUANTILES.items()}
        return {name: value for name, value in found.items() if value is not None} or None


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether the same process goes on counting for the same version."""
    return all(one[key] == other[key] for key in ("version", "since", "pid"))
