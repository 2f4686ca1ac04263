"""Temporary folders that do not outlive their process for long, even one that was killed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = ".lock"


class WorkFolder:
    """A folder of this process, below the system's temporary folder.

    It is held by a lock, which ends with the process however it ends. Making a folder removes those
    of the same kind, and the same user, that nobody holds any more.
    """

    def __init__(self, kind: str) -> None:
        prefix = f"repertory-{kind}-"
        for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _remove_if_left(path)
        self._lock = -1
        while self._lock < 0:
            self.path = Path(tempfile.mkdtemp(prefix=prefix))
            self._lock = _hold(self.path)

    def remove(self) -> None:
        """Remove the folder and all in it. Idempotent."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _hold(folder: Path) -> int:
    """Return a lock on a new folder; -1 if another process took the folder for left, and removed it."""
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if (folder / _LOCK).exists():
        return lock
    os.close(lock)
    return -1


def _remove_if_left(path: Path) -> None:
    try:
        if path.stat().st_uid != os.getuid():
            return
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # just being made, or just gone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
