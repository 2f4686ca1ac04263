"""SavedModels as archives, unpacked so that no file lands outside the folder meant for them."""

import io
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from repertory.errors import ModelRejected

# A SavedModel has some ten files; a bomb of many empty ones is refused.
MOST_FILES = 1000

# Weights compress by 1.1 to 1.3, graphs by 5 to 20; bombs by 1,000.
MOST_COMPRESSION = 100
_FREE = 1024 * 1024  # below this size the ratio does not matter

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    is_folder: bool
    stream: IO[bytes] | None  # None: neither a plain file nor a folder


def unpack(content: bytes, folder: Path, *, most_bytes: int) -> None:
    """Unpack a zip, tar or tar.gz into `folder`. Raises ModelRejected.

    Refused whole are: names that are absolute or climb out, links and devices, more than
    MOST_FILES files, more than `most_bytes` unpacked, and compression beyond MOST_COMPRESSION.
    """
    budget = min(most_bytes, max(_FREE, len(content) * MOST_COMPRESSION))
    try:
        members = _zip(content) if content.startswith(b"PK") else _tar(content)
        for count, member in enumerate(members):
            if count == MOST_FILES:
                raise ModelRejected(f"the archive holds more than {MOST_FILES} files")
            budget -= _extract(member, folder, budget)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise ModelRejected(f"the archive cannot be unpacked: {error}") from error


def _extract(member: _Member, folder: Path, budget: int) -> int:
    """Write one member; return its size."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ModelRejected(f"the archive holds {member.name!r}, which leads out of its folder")
    if member.is_folder:
        return 0  # folders are made as files need them
    if member.stream is None:
        raise ModelRejected(f"the archive holds {member.name!r}, which is a link or a device")
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.stream as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > budget:
                raise ModelRejected(
                    f"the archive unpacks to more than is allowed (at {member.name!r}): "
                    "it is larger than models.max_mb, or a bomb"
                )
            file.write(chunk)
    return written


def _zip(content: bytes) -> Iterator[_Member]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            kind = info.external_attr >> 28  # the upper bits of the file's UNIX mode
            plain = kind in (0, 8)  # unknown, or a regular file
            stream = archive.open(info) if plain and not info.is_dir() else None
            yield _Member(info.filename, info.is_dir(), stream)


def _tar(content: bytes) -> Iterator[_Member]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as archive:
        for info in archive:
            stream = archive.extractfile(info) if info.isreg() else None
            yield _Member(info.name, info.isdir(), stream)


def copy_folder(source: Path, target: Path, *, most_bytes: int) -> None:
    """Copy a folder of plain files. Raises ModelRejected for links, and beyond the limits."""
    for path in plain_files(source, most_bytes=most_bytes):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)


def plain_files(folder: Path, *, most_bytes: int | None = None) -> Iterator[Path]:
    """Yield the files in a folder, at any depth, in order.

    Raises ModelRejected at a link or a device, and beyond the limits.
    """
    size = count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ModelRejected(f"{path.name} at the location is a link or a device")
        if path.is_dir():
            continue
        count += 1
        size += path.stat().st_size
        if count > MOST_FILES or (most_bytes is not None and size > most_bytes):
            raise ModelRejected("the folder at the location is larger than models.max_mb allows")
        yield path
