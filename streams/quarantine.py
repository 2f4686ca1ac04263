"""Batches share the serving actor; a suspect has it alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Quarantine:
    """A lock that is held by many, or by one alone, who is given precedence."""

    def __init__(self) -> None:
        self._sharing = 0
        self._alone = False
        self._suspects = 0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it with others; waits while somebody has it, or waits for it, alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone and not self._suspects)
            self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
            await self._notify()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it with nobody else."""
        self._suspects += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._alone and not self._sharing)
                self._alone = True
            try:
                yield
            finally:
                self._alone = False
        finally:
            self._suspects -= 1
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
