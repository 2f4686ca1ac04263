"""Files that are there whole or not at all, also after a power cut."""

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

# What a process that died has left; earlier versions made shorter names.
UNFINISHED = re.compile(r"\.[0-9a-f]{8,16}\.unfinished")


def write_whole(folder: Path, name: str, pieces: Sequence[bytes]) -> None:
    """Write a file of a folder, which is made if need be; it replaces one of that name.

    Raises OSError, and then leaves nothing behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / unfinished_name()
    try:
        with unfinished.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / name)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _force_to_disk(folder)
    _force_to_disk(folder.parent)  # the folder itself may be new


def unfinished_name() -> str:
    """Return a name, of its own, for a file that is not whole yet."""
    return f".{secrets.token_hex(8)}.unfinished"


def _force_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
