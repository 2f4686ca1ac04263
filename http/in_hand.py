"""The requests that are in hand, so that a face can finish them before it ends."""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler


class InHand:
    """Counts requests from their head to their reply.

    `ending` is set when the last ones are due, for those that would go on without an end.
    """

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def draining(self) -> bool:
        """Whether the last requests are due."""
        return self.ending.is_set()

    @web.middleware
    async def hold(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count a request; while draining, its connection ends with its reply."""
        with self.held():
            response = await handler(request)
        if self.draining:
            response.force_close()
        return response

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Count what is done within as a request in hand."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    def drain_from_now(self) -> None:
        """Have replies end their connections; requests are still taken."""
        self.ending.set()

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing is in hand; False when that is not so within `seconds`."""
        self.ending.set()
        try:
            async with asyncio.timeout(seconds):
                await self._none.wait()
        except TimeoutError:
            return False
        return True
