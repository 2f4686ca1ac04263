"""A file system that fails, hangs and forgets as a test says: `faulty://`, over fsspec's memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Memory, with faults. `pipe_file` is not atomic here: others see a file while it is written."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012 - shared by all instances, as memory's is
    pseudo_dirs = [""]  # noqa: RUF012
    down: Exception | None = None
    torn_after: int | None = None
    hang: threading.Event | None = None
    calls: list[tuple[str, str]] = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "memory://")))

    def _call(self, what: str, path: str) -> None:
        cls = FaultyFileSystem
        cls.calls.append((what, path))
        if cls.hang is not None:
            cls.hang.wait(30)
        if cls.down is not None:
            raise cls.down

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self._call("ls", path)
        return super().ls(path, detail=detail, **options)

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        self._call("cat", path)
        return super().cat_file(path, *arguments, **options)

    def pipe_file(self, path: str, value: bytes, *arguments: Any, **options: Any) -> Any:
        self._call("pipe", path)
        if (length := FaultyFileSystem.torn_after) is not None:
            super().pipe_file(path, value[:length])
            raise RuntimeError("the connection broke")  # as botocore's errors, no OSError
        return super().pipe_file(path, value, *arguments, **options)


@contextmanager
def faults(**what: Any) -> Iterator[None]:
    """Have the file system fail like this for a while: `down`, `torn_after`, `hang`."""
    for name, value in what.items():
        setattr(FaultyFileSystem, name, value)
    try:
        yield
    finally:
        for name in what:
            setattr(FaultyFileSystem, name, None)


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
