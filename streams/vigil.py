"""Noticing that this process did not run for a while."""

import asyncio
import time
from collections.abc import Callable

from repertory.errors import RepertoryError

CHECK_SECONDS = 0.25


class Frozen(RepertoryError):
    """The process did not run for so long that others may own its partitions by now."""


class Vigil:
    """Knows when it was last checked; a check that comes too late finds that time has stood still.

    A process that was stopped (SIGSTOP, a suspended machine) takes up its work where it was, before
    its consumer hears that its session is over. Its client library would even commit what is in
    hand as a member of the next generation of the group.
    """

    def __init__(self, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._last = clock()

    def check(self) -> None:
        """Raise Frozen if the last check was longer ago than it should be, now and ever after."""
        now = self._clock()
        if now - self._last > self._most:
            raise Frozen(f"this process did not run for {now - self._last:.1f} s")
        self._last = now

    async def run(self) -> None:
        """Check until cancelled; what was before does not matter. Raises Frozen."""
        self._last = self._clock()
        while True:
            self.check()
            await asyncio.sleep(CHECK_SECONDS)
