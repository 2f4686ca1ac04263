"""Clients that are slow, gone, greedy or mad hold up neither the others nor the end of the face."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from repertory.config import Http
from repertory.http import listening, patience
from repertory.http.listening import Listener

LARGE = 8 * 2**20  # more than the kernel takes of a reply that is not read

Server = tuple[Listener, int, web.AppRunner]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(LARGE))


async def small(_: web.Request) -> web.Response:
    return web.Response(text="served")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """The listener of a face, with less patience than it has."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(patience, "TAKE_SECONDS", 1)
    monkeypatch.setattr(patience, "most_connections", lambda: 32)
    monkeypatch.setattr(listening, "STALL_SECONDS", 0.2)
    app = web.Application()
    app.router.add_get("/", small)
    app.router.add_get("/large", large)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = await Listener.open(runner, Http(port=0))
    yield listener, int(listener.url.rpartition(":")[2]), runner
    await runner.cleanup()


async def connect(port: int, sent: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return reader, writer


async def served(port: int) -> bool:
    """Ask over a new connection, as a client should."""
    reader, writer = await connect(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()
    return reply.endswith(b"served")


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server hangs up."""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
    return b""


async def deaf(port: int, request: bytes) -> socket.socket:
    """Ask, and never read; the sockets of both ends are full then."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, request)
    return sock


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: "])
async def test_a_head_that_does_not_come_in_time_is_not_waited_for(
    server: Server, sent: bytes
) -> None:
    reader, writer = await connect(server[1], sent)
    assert await closed(reader) == b""
    writer.close()


async def test_a_head_that_trickles_in_is_not_waited_for(server: Server) -> None:
    reader, writer = await connect(server[1], b"GET / HTTP/1.1\r\n")

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    assert await closed(reader) == b""
    trickling.cancel()
    writer.close()


async def test_the_next_head_has_to_come_in_time_as_well(server: Server) -> None:
    reader, writer = await connect(server[1], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readuntil(b"served")
    writer.write(b"GET / HT")
    assert await closed(reader) == b""
    writer.close()


async def test_who_keeps_a_connection_and_asks_now_and_then_keeps_it(server: Server) -> None:
    reader, writer = await connect(server[1])
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readuntil(b"served")
        await asyncio.sleep(0.25)  # twice of it is more than a head may take
    writer.close()


async def test_a_crowd_that_only_sits_there_keeps_nobody_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 60.0)
    crowd = [await connect(server[1], b"GET / HTTP/1.1\r\nX:") for _ in range(200)]
    assert await served(server[1])
    assert len(await gone(crowd)) > 150
    for _, writer in crowd:
        writer.close()


async def gone(crowd: list[Streams]) -> list[Streams]:
    """Return the connections that the server has closed, the first ones for sure."""
    await closed(crowd[0][0])
    return [each for each in crowd if each[0].at_eof() or each[0].exception() is not None]


async def test_clients_that_never_read_hold_neither_others_nor_memory(server: Server) -> None:
    runner = server[2]
    assert runner.server is not None
    mute = [await deaf(server[1], b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(5)]
    assert await served(server[1])
    async with asyncio.timeout(20):
        while runner.server.connections:  # the kernel gives them up
            await asyncio.sleep(0.05)
    for sock in mute:
        sock.close()


async def test_who_takes_a_large_reply_slowly_gets_all_of_it_though_the_face_ends(
    server: Server,
) -> None:
    listener, port, _ = server
    request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sock = await deaf(port, request)
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
    assert await reader.readuntil(b"\r\n\r\n")
    await listener.close()
    ending = asyncio.create_task(listener.flush(30))
    got = 0
    while piece := await reader.read(2**18):
        got += len(piece)
        await asyncio.sleep(0.001)
    assert got == LARGE
    await ending
    writer.close()


def unsent(runner: web.AppRunner) -> int:
    assert runner.server is not None
    transports = [each.transport for each in runner.server.connections if each.transport]
    return sum(each.get_write_buffer_size() for each in transports)


async def test_who_has_stopped_taking_its_reply_does_not_hold_the_end(server: Server) -> None:
    listener, port, runner = server
    sock = await deaf(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    while not unsent(runner):
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await listener.flush(30)
    sock.close()


def test_the_limit_of_files_is_raised_to_what_the_connections_need() -> None:
    assert 0 < patience.most_connections.__wrapped__() <= patience.MOST_CONNECTIONS
