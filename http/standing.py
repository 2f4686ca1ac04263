"""Whether those with an open stream may still have it: a token is revoked, or its time is over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from repertory.errors import Unauthenticated, Unavailable
from repertory.http.visitor import Visitor, visitor_now

T = TypeVar("T")

# So long a stream outlives the right to it, and a second for the file of tokens to be looked at.
LOOK_SECONDS = 2.0
WHY = "the token or role that opened this stream does not hold any more"


async def fallen() -> None:
    """Wait until whoever asks may not do so any more, and say so in the audit log."""
    visitor = visitor_now()
    if visitor is None:
        await asyncio.Event().wait()
    else:
        await _fall_of(visitor)


async def _fall_of(visitor: Visitor) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        # While an issuer's keys cannot be had, nobody can say that anything has changed.
        with contextlib.suppress(Unavailable):
            if not await visitor.stands():
                visitor.note("access", "ended", reason=WHY)
                return


class Standing:
    """The requests of a stream, which end with Unauthenticated when its visitor may not go on."""

    def __init__(self) -> None:
        self._fallen = False
        self._reader: asyncio.Task[object] | None = None  # while it waits for a request

    @contextlib.contextmanager
    def watched(self, visitor: Visitor) -> Iterator[None]:
        """Look whether the visitor may go on, within."""
        watching = asyncio.create_task(self._watch(visitor))
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self, visitor: Visitor) -> None:
        await _fall_of(visitor)
        self._fallen = True
        if self._reader is not None:
            self._reader.cancel()

    async def requests(self, requests: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield requests. Raises Unauthenticated, also while it waits for one."""
        while True:
            self._refuse_fallen()
            self._reader = asyncio.current_task()
            try:
                request = await anext(requests)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                self._refuse_fallen()
                raise
            finally:
                self._reader = None
            yield request

    def _refuse_fallen(self) -> None:
        if not self._fallen:
            return
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
        raise Unauthenticated(WHY)
