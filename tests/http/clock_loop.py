"""A loop whose time passes only while there is nothing else to do: waiting takes none."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ClockLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = 0.0

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._clock

    def _run_once(self) -> None:
        ready: Any = getattr(self, "_ready")  # noqa: B009 - private, and unknown to typeshed
        scheduled: Any = getattr(self, "_scheduled")  # noqa: B009
        if scheduled and not ready:
            self._clock = max(self._clock, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(main)
