"""Following the journal, whatever becomes of it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from repertory.actors.troubles import Troubles
from repertory.errors import JournalError
from repertory.journal.journal import Entry, Journal

RETRY_SECONDS = 1.0


class Follower:
    """Reads the journal, on a thread and with an instance of its own."""

    def __init__(self, open_journal: Callable[[], Journal], troubles: Troubles) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._troubles = troubles

    async def read(self, after: int) -> Sequence[Entry]:
        """Return the entries over `after` that are there. While there is trouble, it is noted."""
        loop = asyncio.get_running_loop()
        try:
            entries, trouble = await loop.run_in_executor(self._thread, self._read, after)
        except JournalError as error:
            self._troubles.note("the journal", str(error))
            await asyncio.sleep(RETRY_SECONDS)
            return []
        self._troubles.note("the journal", trouble)
        return entries

    async def close(self) -> None:
        """Close the journal, after what is under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _read(self, after: int) -> tuple[Sequence[Entry], str | None]:
        if self._journal is None:
            self._journal = self._open_journal()
        return self._journal.read(after), self._journal.trouble()
