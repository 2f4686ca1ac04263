"""Valid input made wrong: bytes and JSON documents, by a random source that a seed repeats."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import orjson

# Numbers that limits, signs and lengths are about.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_DEEP, _DEEPER = 200, 5000  # orjson writes no more than 254
_LONG = 70_000

_WORDS = (
    b"\r\n", b"\r\n\r\n", b"\0", b"\xff\xfe", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 99999999999\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Content-Encoding: gzip\r\n",
    b"X-Request-Timeout: 1e-9\r\n", b"Inference-Header-Content-Length: 7\r\n", b"[" * _DEEPER,
    b"{\"a\":" * _DEEPER, b"NaN", b"1e999", b"-0", b"\xed\xa0\x80", b"%00", b"../", b"HTTP/1.1",
)  # fmt: skip


def _odd_values() -> Sequence[Any]:
    deep: Any = []
    for _ in range(_DEEP):
        deep = [deep]
    return (
        None, True, False, 0, -1, 1.5, -0.0, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 1e308, "", "x",
        "\0", "é\u2028😀", "1", "NaN", "x" * _LONG, [], {}, [[]], [None], [[1], [2, 3]], {"": None}, deep,
        [0] * 5000, {str(n): n for n in range(300)}, "../../etc/passwd", [2**31, 2**31, 2**31], [0, -1],
    )  # fmt: skip


class Mutator:
    """Makes input wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._odd = [orjson.dumps(each) for each in _odd_values()]  # each use has its own

    def bytes(self, data: bytes) -> bytes:
        """Return `data` with one to a few faults; now and then as it is."""
        found = bytearray(data)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3, 8))):
            self.random.choice(_FAULTS)(self, found)
        return bytes(found[: 4 * _LONG])

    def document(self, document: Any) -> bytes:
        """Return a JSON document with parts replaced, left out or doubled, then encoded."""
        copy = orjson.loads(orjson.dumps(document))
        for _ in range(self.random.choice((1, 1, 2, 3))):
            copy = self._replace(copy)
        try:
            data = orjson.dumps(copy)
        except TypeError:  # deep in deep: deeper than it writes
            data = b"[" * _DEEPER
        return self.bytes(data) if self.random.random() < 0.2 else data

    def _replace(self, document: Any) -> Any:
        holder, key = None, None
        found = document
        while isinstance(found, dict | list) and found and self.random.random() < 0.85:
            holder = found
            key = self.random.choice(list(found) if isinstance(found, dict) else range(len(found)))
            found = found[key]
        if holder is None:
            return orjson.loads(self.random.choice(self._odd))
        what = self.random.random()
        if what < 0.15:
            del holder[key]
        elif what < 0.25 and isinstance(holder, list):
            holder.insert(key, found)
        elif what < 0.35 and isinstance(holder, dict):
            holder[self.random.choice(("", "a", "parameters", "data", "\0"))] = holder.pop(key)
        else:
            holder[key] = orjson.loads(self.random.choice(self._odd))
        return document

    # --- faults of bytes

    def _place(self, data: bytearray) -> int:
        return self.random.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _leave_out(self, data: bytearray) -> None:
        start = self._place(data)
        del data[start : start + self.random.choice((1, 2, 4, 30))]

    def _double(self, data: bytearray) -> None:
        start = self._place(data)
        part = bytes(data[start : start + self.random.choice((1, 4, 60, 1000))])
        data[start:start] = part * self.random.choice((1, 2, 50))

    def _insert_word(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self.random.choice(_WORDS)

    def _insert_noise(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self.random.randbytes(self.random.choice((1, 3, 40, 2000)))

    def _edge(self, data: bytearray) -> None:
        size = self.random.choice((1, 2, 4, 8))
        number = self.random.choice(_EDGES) & (256**size - 1)
        start = self._place(data)
        data[start : start + size] = number.to_bytes(size, self.random.choice(("big", "little")))


_FAULTS: Sequence[Callable[[Mutator, bytearray], None]] = (
    Mutator._flip,
    Mutator._flip,
    Mutator._cut,
    Mutator._leave_out,
    Mutator._double,
    Mutator._insert_word,
    Mutator._insert_noise,
    Mutator._edge,
    Mutator._edge,
)
