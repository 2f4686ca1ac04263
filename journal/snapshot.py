"""A snapshot: what a serving actor needs to serve again at once, and how it is written as bytes.

    magic 8 | format uint32 | bytes of the body uint64 | SHA-256 of all else 32 | body
    body: bytes of the head uint32 | head (JSON) | the files, one after the other

All numbers are little-endian.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from repertory.errors import JournalError, SnapshotCorrupt

MAGIC = b"RepSnap\n"
FORMAT = 1

_PREFIX = struct.Struct("<8sIQ")
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_BYTES = _PREFIX.size + _DIGEST_BYTES
_HEAD_BYTES = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model on stage, as it was at `position` of the journal.

    `sha256` is that of the published content; `files` are the prepared model by name, and
    `counters` a JSON object of usage statistics: both mean nothing here. If `retired` is set,
    nothing is on stage since `position` and `since_ms`, and the rest is empty.
    """

    data_type: str
    name: str
    description: str
    model_type: str
    version: int
    sha256: str
    position: int
    since_ms: int
    files: Mapping[str, bytes]
    counters: Mapping[str, Any] = field(default_factory=dict)
    retired: bool = False


def retired_snapshot(data_type: str, *, position: int, since_ms: int) -> Snapshot:
    """Return the snapshot of an empty stage."""
    return Snapshot(
        data_type=data_type,
        name="",
        description="",
        model_type="",
        version=0,
        sha256="",
        position=position,
        since_ms=since_ms,
        files={},
        retired=True,
    )


_HEAD_FIELDS = tuple(item.name for item in fields(Snapshot) if item.name != "files")


def encode(snapshot: Snapshot) -> Sequence[bytes]:
    """Return the bytes of a snapshot in pieces, so that the files are not copied.

    Raises TypeError or ValueError when `counters` is no JSON.
    """
    values = {name: getattr(snapshot, name) for name in _HEAD_FIELDS}
    values["counters"] = dict(snapshot.counters)
    values["files"] = [[name, len(content)] for name, content in snapshot.files.items()]
    # The standard json, since it keeps infinity: the least time of a model that was never used.
    head = json.dumps(values).encode()
    body = [_HEAD_BYTES.pack(len(head)), head, *snapshot.files.values()]
    prefix = _PREFIX.pack(MAGIC, FORMAT, sum(map(len, body)))
    return [prefix, _digest(prefix, *body), *body]


def decode(data: bytes) -> Snapshot:
    """Return the snapshot of these bytes.

    Raises SnapshotCorrupt when they are not what `encode` gave, and JournalError when they are
    whole but of a newer format.
    """
    if len(data) < _HEADER_BYTES:
        raise SnapshotCorrupt(f"{len(data)} bytes are fewer than a header")
    magic, version, length = _PREFIX.unpack_from(data)
    body = memoryview(data)[_HEADER_BYTES:]
    if magic != MAGIC:
        raise SnapshotCorrupt("it does not begin like a snapshot")
    if len(body) != length:
        raise SnapshotCorrupt(f"{len(body)} bytes where {length} were written")
    if _digest(data[: _PREFIX.size], body) != data[_PREFIX.size : _HEADER_BYTES]:
        raise SnapshotCorrupt("the digest does not match")
    if version != FORMAT:
        raise JournalError(f"format {version} is of a newer Repertory; this one knows {FORMAT}")
    try:
        return _decode_body(body)
    except (TypeError, KeyError, ValueError, struct.error) as error:
        raise SnapshotCorrupt(f"the digest matches, but it is no snapshot: {error}") from error


def _decode_body(body: memoryview) -> Snapshot:
    (head_bytes,) = _HEAD_BYTES.unpack_from(body)
    position = _HEAD_BYTES.size + head_bytes
    values = json.loads(bytes(body[_HEAD_BYTES.size : position]))
    files = {}
    for name, length in values.pop("files"):
        files[name] = bytes(body[position : position + length])
        position += length
    return Snapshot(**values, files=files)


def _digest(*pieces: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
