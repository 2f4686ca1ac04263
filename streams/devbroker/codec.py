"""Reading and writing the primitive types of the Kafka protocol.

A "flexible" version of a request (KIP-482) writes the same types with lengths of variable size and
has room for tagged fields; the classic ones do not. Reader and Writer know which they deal with, so
that a request is described once for all its versions.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from repertory.streams.devbroker.protocol import MalformedRequest

_INT8, _INT16, _INT32, _INT64 = (struct.Struct(f">{code}") for code in "bhiq")
_T = TypeVar("_T")


class Reader:
    """Reads one request, front to back. Raises MalformedRequest where the bytes do not fit."""

    __slots__ = ("_data", "_place", "flexible")

    def __init__(self, data: bytes | memoryview, *, flexible: bool = False) -> None:
        self.flexible = flexible
        self._data = memoryview(data)
        self._place = 0

    @property
    def left(self) -> int:
        """The number of bytes not yet read."""
        return len(self._data) - self._place

    def _number(self, layout: struct.Struct) -> int:
        if self.left < layout.size:
            raise MalformedRequest(f"the request ends {layout.size - self.left} bytes too early")
        (value,) = layout.unpack_from(self._data, self._place)
        self._place += layout.size
        return int(value)

    def int8(self) -> int:
        """Read INT8."""
        return self._number(_INT8)

    def int16(self) -> int:
        """Read INT16."""
        return self._number(_INT16)

    def int32(self) -> int:
        """Read INT32."""
        return self._number(_INT32)

    def int64(self) -> int:
        """Read INT64."""
        return self._number(_INT64)

    def boolean(self) -> bool:
        """Read BOOLEAN."""
        return self._number(_INT8) != 0

    def varuint(self) -> int:
        """Read UNSIGNED_VARINT (at most five bytes)."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.int8() & 0xFF
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedRequest("a variable-length number has more than five bytes")

    def _take(self, size: int) -> memoryview:
        if not 0 <= size <= self.left:
            raise MalformedRequest(f"{size} bytes are announced, {self.left} are left")
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken

    def _text(self, size: int) -> str:
        try:
            return str(self._take(size), "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"a string is not UTF-8: {error}") from error

    def nullable_string(self) -> str | None:
        """Read NULLABLE_STRING."""
        size = self.varuint() - 1 if self.flexible else self.int16()
        return None if size == -1 else self._text(size)

    def string(self) -> str:
        """Read STRING; null counts as empty."""
        return self.nullable_string() or ""

    def blob(self) -> memoryview:
        """Read BYTES without copying; null counts as empty."""
        size = self._long_size()
        return self._take(0) if size == -1 else self._take(size)

    def nullable_array(self, item: Callable[[], _T]) -> list[_T] | None:
        """Read an ARRAY, item by item; None if it is null."""
        count = self._long_size()
        return None if count == -1 else self._items(count, item)

    def array(self, item: Callable[[], _T]) -> list[_T]:
        """Read an ARRAY, item by item; null counts as empty."""
        return self.nullable_array(item) or []

    def _long_size(self) -> int:
        return self.varuint() - 1 if self.flexible else self.int32()

    def _items(self, count: int, item: Callable[[], _T]) -> list[_T]:
        if not 0 <= count <= self.left:  # an item has at least one byte
            raise MalformedRequest(f"{count} items are announced, {self.left} bytes are left")
        return [item() for _ in range(count)]

    def tags(self) -> None:
        """Skip TAG_BUFFER, which classic versions do not have."""
        for _ in range(self.varuint() if self.flexible else 0):
            self.varuint()
            self._take(self.varuint())


class Writer:
    """Collects the parts of one answer; blobs are kept as they are, not copied."""

    __slots__ = ("flexible", "parts")

    def __init__(self, *, flexible: bool = False) -> None:
        self.flexible = flexible
        self.parts: list[bytes | bytearray | memoryview] = []

    @property
    def size(self) -> int:
        """The number of bytes written."""
        return sum(map(len, self.parts))

    def to_bytes(self) -> bytes:
        """Return all that was written, in one piece."""
        return b"".join(self.parts)

    def int8(self, value: int) -> Self:
        """Write INT8."""
        self.parts.append(_INT8.pack(value))
        return self

    def int16(self, value: int) -> Self:
        """Write INT16."""
        self.parts.append(_INT16.pack(value))
        return self

    def int32(self, value: int) -> Self:
        """Write INT32."""
        self.parts.append(_INT32.pack(value))
        return self

    def int64(self, value: int) -> Self:
        """Write INT64."""
        self.parts.append(_INT64.pack(value))
        return self

    def boolean(self, value: bool) -> Self:
        """Write BOOLEAN."""
        return self.int8(1 if value else 0)

    def varuint(self, value: int) -> Self:
        """Write UNSIGNED_VARINT."""
        encoded = bytearray()
        while value > 0x7F:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        encoded.append(value)
        self.parts.append(bytes(encoded))
        return self

    def _long_size(self, size: int) -> Self:
        return self.varuint(size + 1) if self.flexible else self.int32(size)

    def string(self, value: str | None) -> Self:
        """Write NULLABLE_STRING."""
        encoded = b"" if value is None else value.encode()
        size = -1 if value is None else len(encoded)
        (self.varuint(size + 1) if self.flexible else self.int16(size)).parts.append(encoded)
        return self

    def blob(self, value: bytes | bytearray | memoryview) -> Self:
        """Write BYTES."""
        self._long_size(len(value)).parts.append(value)
        return self

    def array(self, items: Iterable[_T], write: Callable[[_T], object]) -> Self:
        """Write an ARRAY; `write` writes one item."""
        listed = list(items)
        self._long_size(len(listed))
        for item in listed:
            write(item)
        return self

    def null_array(self) -> Self:
        """Write the ARRAY that is null."""
        return self._long_size(-1)

    def tags(self) -> Self:
        """Write a TAG_BUFFER without tags; nothing in a classic version."""
        return self.varuint(0) if self.flexible else self
