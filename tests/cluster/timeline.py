"""When something succeeded, and the pauses between."""

from collections.abc import Iterable

LEAST = 0.25  # seconds: what is shorter is no pause, on a machine that is busy with several nodes

Pause = tuple[float, float]


class Timeline:
    """Notes successes, in epoch seconds, and keeps the pauses between them."""

    def __init__(self) -> None:
        self.last = 0.0
        self.pauses: list[Pause] = []

    def note(self, now: float) -> None:
        """Note a success."""
        if self.last and now - self.last > LEAST:
            self.pauses.append((self.last, now))
        self.last = max(now, self.last)


def longest_after(pauses: Iterable[Pause], moment: float) -> float:
    """Return the seconds of the longest pause after a moment, of which what was before is not counted."""
    return max((end - max(begin, moment) for begin, end in pauses if end > moment), default=0.0)
