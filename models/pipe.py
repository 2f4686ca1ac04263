"""Frames between a process and its child: a JSON header and arrays, over a socket pair.

A frame is: uint32 length of the header, uint64 length of the arrays' bytes (both big-endian), the
header, the bytes. Neither side unpickles anything, so a child that was taken over can only lie.
"""

import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct(">IQ")
_MOST_HEADER = 64 * 1024 * 1024
_MOST_BODY = 4 * 1024 * 1024 * 1024

Arrays = Mapping[str, NDArray[Any]]


class PipeClosed(Exception):
    """The other process is gone, or speaks garbage."""


class Pipe:
    """One end of the socket pair. Used by one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(
        self,
        header: Mapping[str, Any],
        arrays: Arrays | None = None,
        *,
        seconds: float | None = None,
    ) -> None:
        """Send a frame. Raises PipeClosed, or TimeoutError after `seconds`."""
        described, blobs = [], []
        for name, array in (arrays or {}).items():
            blob, dtype = _packed(array)
            described.append((name, dtype, array.shape, len(blob)))
            blobs.append(blob)
        text = json.dumps({"header": header, "arrays": described}).encode()
        body = b"".join(blobs)
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(_HEAD.pack(len(text), len(body)) + text)
            self._socket.sendall(body)
        except TimeoutError:
            raise
        except OSError as error:
            raise PipeClosed(str(error)) from error

    def receive(self, *, seconds: float | None = None) -> tuple[dict[str, Any], Arrays]:
        """Return the next frame. Raises PipeClosed, or TimeoutError after `seconds`."""
        end = None if seconds is None else time.monotonic() + seconds
        header_size, body_size = _HEAD.unpack(self._read(_HEAD.size, end))
        if header_size > _MOST_HEADER or body_size > _MOST_BODY:
            raise PipeClosed("a frame of impossible length")
        text = self._read(header_size, end)
        body = self._read(body_size, end)
        try:
            document = json.loads(bytes(text))
            arrays, place = {}, 0
            for name, dtype, shape, size in document["arrays"]:
                arrays[name] = _unpacked(body[place : place + size], dtype, shape)
                place += size
            return document["header"], arrays
        except (ValueError, KeyError, TypeError) as error:
            raise PipeClosed(f"garbage: {error}") from error

    def close(self) -> None:
        """Close this end. Idempotent."""
        self._socket.close()

    def _read(self, size: int, end: float | None) -> memoryview:
        whole = memoryview(bytearray(size))
        rest = whole
        while rest:
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            else:
                self._socket.settimeout(None)
            try:
                count = self._socket.recv_into(rest)
            except TimeoutError:
                raise
            except OSError as error:
                raise PipeClosed(str(error)) from error
            if count == 0:
                raise PipeClosed("the other process closed the pipe")
            rest = rest[count:]
        return whole.toreadonly()


def _packed(array: NDArray[Any]) -> tuple[bytes, str]:
    if array.dtype.kind == "O":
        return json.dumps(array.reshape(-1).tolist()).encode(), "object"
    return array.tobytes(), array.dtype.str


def _unpacked(blob: memoryview, dtype: str, shape: list[int]) -> NDArray[Any]:
    if dtype == "object":
        values = json.loads(bytes(blob))
        array = np.empty(len(values), np.object_)
        array[:] = values
        return array.reshape(shape)
    return np.frombuffer(blob, np.dtype(dtype)).reshape(shape)
