"""Files in which uploads wait for the keeper. None outlives its request."""

import contextlib
import time
import uuid
from pathlib import Path
from typing import Self

from aiohttp import web

from repertory.config import MEBIBYTE

_PREFIX = "http-"
# What lies longer was left by a process that was killed: no upload takes an hour.
STALE_SECONDS = 3600.0


class SpoolFile:
    """One file, written piece by piece and counted."""

    def __init__(self, path: Path, *, limit: int, too_large: str) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self.left = limit  # bytes that may still come
        self._too_large = too_large

    def refusal(self) -> web.HTTPException:
        """Return the error of what is too large."""
        return web.HTTPRequestEntityTooLarge(0, text=self._too_large)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises a 413 when there would be more than allowed."""
        self.left -= len(data)
        if self.left < 0:
            raise self.refusal()
        self._file.write(data)

    def close(self) -> None:
        """Close the file, which stays. Idempotent."""
        self._file.close()


class Spool:
    """The files of one upload. `remove` takes away what is still there."""

    def __init__(self, folder: Path, *, max_mb: int) -> None:
        self._folder = folder
        self._max_mb = max_mb
        self._files: list[SpoolFile] = []

    def open(self, *, overhead: float = 1.0) -> SpoolFile:
        """Create a file for a model, which takes `overhead` times its size in this form."""
        file = SpoolFile(
            self._folder / f"{_PREFIX}{uuid.uuid4()}",
            limit=int(self._max_mb * MEBIBYTE * overhead) + MEBIBYTE // 16,
            too_large=f"the model is larger than {self._max_mb} MiB (models.max_mb)",
        )
        self._files.append(file)
        return file

    def close(self) -> None:
        """Close the files, which stay: they are complete."""
        for file in self._files:
            file.close()

    def remove(self) -> None:
        """Remove all files that are still there. Idempotent."""
        for file in self._files:
            file.close()
            file.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Begin an upload that is removed unless it completes."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Keep what is complete, and remove what is not."""
        if kind is None:
            self.close()
        else:
            self.remove()


def sweep(folder: Path) -> None:
    """Remove what uploads left behind whose process was killed."""
    before = time.time() - STALE_SECONDS
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # its upload, or another process, was faster
            if path.stat().st_mtime < before:
                path.unlink()
