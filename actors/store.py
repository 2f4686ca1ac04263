"""The keeper's journal and catalog."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from repertory.journal.catalog import Catalog
from repertory.journal.journal import Journal

T = TypeVar("T")


class Store:
    """Journal and catalog on a thread of their own: their calls block."""

    def __init__(self, open_journal: Callable[[], Journal], catalog: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._open_journal = open_journal
        self._catalog_path = catalog
        self._opened: list[Catalog | Journal] = []

    async def open_catalog(self) -> None:
        """Open the catalog. Raises JournalError."""
        self.catalog = await self.run(lambda: Catalog(self._catalog_path))
        self._opened.append(self.catalog)

    async def open_journal(self) -> None:
        """Open the journal. Raises JournalError."""
        self.journal = await self.run(self._open_journal)
        self._opened.append(self.journal)

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Close what is open, after what is under way."""
        for opened in self._opened:
            await self.run(opened.close)
        self._thread.shutdown()
