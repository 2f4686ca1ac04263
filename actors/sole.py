"""One actor for one task: a lock on a file, held for as long as its process lives."""

import fcntl
import os
from pathlib import Path


class Sole:
    """The lock beside an actor's door.

    A router that dies at the wrong moment could bring up two actors for one task; only the one that
    has the lock opens the door.
    """

    def __init__(self, door: Path) -> None:
        self._path = door.with_suffix(".lock")
        self._file: int | None = None

    def taken(self) -> bool:
        """Try to take the lock; return whether it is ours, now or before."""
        if self._file is not None:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True
