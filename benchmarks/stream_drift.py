"""How the memory of each process of a node develops, minute by minute. Pure."""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field

ALLOWED = 0.05
"""Part of its memory in the first minute by which a process may differ later, either way."""


@dataclass
class Drift:
    """Samples of memory (bytes), by process and minute."""

    _samples: dict[str, dict[int, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, minute: int, memory: dict[str, int]) -> None:
        """Note what each process has, in a minute from 1 on."""
        for process, size in memory.items():
            self._samples[process][minute].append(size)

    def minutes(self) -> dict[str, dict[int, float]]:
        """Return the median of each minute, of each process."""
        return {
            process: {minute: statistics.median(sizes) for minute, sizes in by_minute.items()}
            for process, by_minute in sorted(self._samples.items())
        }

    def worst(self, process: str) -> float | None:
        """Return the largest difference to the first minute, as a part of that; None if not there.

        A process that was not there in the first minute, or not in the last, has died or was born.
        """
        own = self.minutes()[process]
        last = max(minute for each in self._samples.values() for minute in each)
        if 1 not in own or last not in own:
            return None
        return max((size / own[1] - 1 for size in own.values()), key=abs)

    def flat(self) -> bool:
        """Whether each process was there all the time, and none drifted further than allowed."""
        drifts = [self.worst(process) for process in self._samples]
        return all(drift is not None and abs(drift) <= ALLOWED for drift in drifts)
