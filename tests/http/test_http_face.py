"""The face as a process: it starts, waits for its router, drains and ends."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode, wait_until


def _listens(face: Any) -> Callable[[], bool]:
    return lambda: b"listening" in face.log.read_bytes()


async def _end(face: Any) -> int:
    face.process.send_signal(signal.SIGTERM)
    return int(await asyncio.to_thread(face.process.wait, 5))


def test_a_port_that_is_taken_ends_it_with_one_line(
    shared_node: LocalNode, start_face: Any
) -> None:
    face = start_face(port=shared_node.config.http.port)
    assert face.process.wait(20) == 1
    (line,) = face.log.read_text().splitlines()
    assert "cannot listen" in line
    assert str(shared_node.config.http.port) in line


async def test_requests_in_hand_are_finished_before_it_ends(
    shared_node: LocalNode, serving: Any, wine: Any, start_face: Any, eventually: Any
) -> None:
    face = start_face(shared_node.config.data_dir)
    await eventually(_listens(face), "the face listens")
    body = orjson.dumps(wine(3))
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    head = "POST /score/wine HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
    assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")  # it is in hand
    face.process.send_signal(signal.SIGTERM)
    await eventually(lambda: b"draining" in face.log.read_bytes(), "the face drains")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", face.port)
    writer.write(body)
    reply = await reader.read()
    assert reply.startswith(b"HTTP/1.1 200")
    assert b'"results":[{"value":3.0}]' in reply
    assert await asyncio.to_thread(face.process.wait, 5) == 0
    writer.close()


async def test_a_client_that_never_finishes_does_not_keep_it(
    start_face: Any, eventually: Any
) -> None:
    face = start_face()
    await eventually(_listens(face), "the face listens")
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    writer.write(b"POST /score/wine HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
    writer.write(b"Expect: 100-continue\r\n\r\n")
    assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
    assert await _end(face) == 0
    writer.close()


async def test_slow_clients_do_not_hold_up_others(
    call: Any, wine: Any, serving: Any, shared_node: LocalNode
) -> None:
    slow = [
        await asyncio.open_connection("127.0.0.1", shared_node.config.http.port) for _ in range(50)
    ]
    for _, writer in slow:
        writer.write(b"POST /score/wine HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[")
    async with asyncio.timeout(5):
        reply = await call("POST", "/score/wine", json=wine(2))
    assert reply.body["results"] == [{"value": 2.0}]
    for _, writer in slow:
        writer.close()


async def test_without_a_router_it_says_so(start_face: Any, eventually: Any, wine: Any) -> None:
    face = start_face()
    await eventually(_listens(face), "the face listens")
    headers = {"X-Request-Timeout": "0.2"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{face.port}") as session:
        async with session.post("/score/wine", json=wine(1), headers=headers) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert "router" in (await reply.json())["error"]
        async with session.get("/health/ready") as reply:
            assert (reply.status, (await reply.json())["ready"]) == (503, False)
        async with session.get("/health/live") as reply:
            assert reply.status == 200
        async with session.get("/metrics") as reply:
            assert "repertory_router_up 0.0" in await reply.text()
    assert await _end(face) == 0


async def test_requests_wait_for_a_new_router(
    call: Any, wine: Any, serving: Any, shared_node: LocalNode
) -> None:
    async with RouterClient(shared_node.paths.router_door, role="test") as router:
        async with asyncio.timeout(10):
            await router.connected.wait()
        pid = router.router_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for number in range(20):
        reply = await call("POST", "/score/wine", json=wine(number))
        assert reply.body["results"] == [{"value": float(number)}]


def test_what_a_killed_face_left_in_the_spool_is_removed(start_face: Any, tmp_path: Any) -> None:
    spool = tmp_path / "none" / "a" / "spool"
    spool.mkdir(parents=True)
    for name, age in (("http-old", 10**6), ("http-new", 0), ("other", 10**6)):
        (spool / name).touch()
        time = os.stat(spool / name).st_mtime - age
        os.utime(spool / name, (time, time))
    wait_until(_listens(start_face()), "the face listens")
    assert sorted(os.listdir(spool)) == ["http-new", "other"]
