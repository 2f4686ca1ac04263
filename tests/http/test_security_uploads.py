"""What large uploads cost a face: room on the disk, no memory; and too large ones not even that."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

MEBIBYTE = 1024 * 1024
SENT_MB, LIMIT_MB = 300, 310
# What a face may grow by, whatever comes: buffers of sockets, and pieces of 256 KiB.
GROWTH_MB = 24
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\n'
FORM_KIND = "multipart/form-data; boundary=x"
KINDS = {
    FORM_KIND: (FORM, b"\r\n--x--\r\n"),
    "application/x-protobuf": (b"", b""),
}


def pieces(kind: str, megabytes: int, sent: list[int]) -> Iterator[bytes]:
    start, end = KINDS[kind]
    yield start
    for _ in range(megabytes):
        sent.append(MEBIBYTE)
        yield bytes(MEBIBYTE)
    yield end


@pytest.fixture
async def face(
    start_face: Callable[..., Any], eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A face that takes models of some size, of a node whose router is not there."""
    monkeypatch.setenv("REPERTORY_MODELS__MAX_MB", str(LIMIT_MB))
    face = start_face()
    await eventually(lambda: b'"listening"' in face.log.read_bytes(), "the face listens")
    return face


def memory_of(face: Any) -> int:
    """Return the most memory that a face ever had, in MiB (VmHWM of man 5 proc)."""
    status = Path(f"/proc/{face.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


async def upload(face: Any, kind: str, megabytes: int, sent: list[int]) -> int:
    async def body() -> Any:
        for piece in pieces(kind, megabytes, sent):
            yield piece

    url, headers = f"http://127.0.0.1:{face.port}/models", {"Content-Type": kind}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body(), headers=headers) as reply,
    ):
        await reply.read()
        return reply.status


async def test_a_large_upload_costs_no_memory(face: Any, tmp_path: Path) -> None:
    await upload(face, FORM_KIND, 1, [])
    before = memory_of(face)
    # Only when the whole form was read is it known that it says no data type.
    assert await upload(face, FORM_KIND, SENT_MB, []) == 400
    assert memory_of(face) - before < GROWTH_MB
    assert list((tmp_path / "none" / "a" / "spool").iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_of_an_upload_beyond_the_limit_no_more_than_the_limit_is_taken(
    face: Any, kind: str, tmp_path: Path
) -> None:
    await upload(face, FORM_KIND, 1, [])
    before, sent = memory_of(face), list[int]()
    with contextlib.suppress(aiohttp.ClientError):  # the face hangs up while we still send
        assert await upload(face, kind, 4 * LIMIT_MB, sent) == 413
    assert sum(sent) < (LIMIT_MB + 64) * MEBIBYTE
    assert memory_of(face) - before < GROWTH_MB
    assert list((tmp_path / "none" / "a" / "spool").iterdir()) == []


def test_an_upload_that_announces_too_much_is_refused_before_it_comes(face: Any) -> None:
    head = "POST /models HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    with socket.create_connection(("127.0.0.1", face.port), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {10 * 1024 * MEBIBYTE}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert psutil.pid_exists(face.process.pid)
