"""When the face ends, whoever made a connection gets an answer."""

import asyncio
import http.client
import socket
from collections import Counter

import pytest
from aiohttp import web

from repertory.config import Http
from repertory.http.listening import Listener

CLIENTS = 4
ENDS = 8


def call_until_refused(port: int) -> Counter[str]:
    """Make one connection after the other; return what became of them."""
    found: Counter[str] = Counter()
    while "refused" not in found:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
        except ConnectionRefusedError:
            found["refused"] += 1
            continue
        try:
            connection.request("GET", "/")
            found[connection.getresponse().read().decode()] += 1
        except (OSError, http.client.HTTPException) as error:
            found[repr(error)] += 1
        finally:
            connection.close()
    return found


async def answer(_: web.Request) -> web.Response:
    return web.Response(text="answered", headers={"Connection": "close"})


async def open_and_close(seconds: float) -> Counter[str]:
    """Listen for a while, with clients; return what became of all their connections."""
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = await Listener.open(runner, Http(port=0))
    port = int(listener.url.rpartition(":")[2])
    clients = [asyncio.to_thread(call_until_refused, port) for _ in range(CLIENTS)]
    calling = asyncio.gather(*clients)
    await asyncio.sleep(seconds)
    await listener.close()
    await listener.linger()
    await runner.cleanup()
    return sum(await calling, Counter())


def test_every_connection_that_is_made_is_answered() -> None:
    found: Counter[str] = Counter()
    for end in range(ENDS):
        found += asyncio.run(open_and_close(0.02 + end / 200))
    assert set(found) == {"answered", "refused"}
    assert found["refused"] == ENDS * CLIENTS


async def test_a_connection_is_made_as_long_as_it_listens() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    listener = await Listener.open(runner, Http(port=0))
    host, port = listener.url.removeprefix("http://").rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await listener.close()
    await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    await runner.cleanup()
