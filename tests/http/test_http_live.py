"""What is seen is told to all who listen, as it changes, until the face ends."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.conftest import ROOT
from tests.http.scripted import ScriptedRouter, cluster_answer, slot_answer

from repertory.config import NodePaths, load_config
from repertory.errors import Unavailable
from repertory.http import live
from repertory.http.in_hand import InHand
from repertory.http.routes import make_app

SECONDS = 5.0


class Listening:
    """A face of a scripted router, and what one hears who listens to it."""

    def __init__(self, client: Any, router: ScriptedRouter, in_hand: InHand) -> None:
        self.client = client
        self.router = router
        self.in_hand = in_hand

    async def listen(self) -> Any:
        return await self.client.get("/events")

    async def hear(self, reply: Any, event: str) -> dict[str, Any]:
        """Wait for an event of a kind."""
        async with asyncio.timeout(SECONDS):
            while True:
                kind = (await reply.content.readline()).decode().strip()
                data = (await reply.content.readline()).removeprefix(b"data: ")
                await reply.content.readline()
                if kind == f"event: {event}":
                    return dict(orjson.loads(data))


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    """A face that listeners can be had at."""
    config = load_config(ROOT / "cluster.yaml")
    script: Any = {("cluster", None): cluster_answer(), ("state", None): slot_answer("forest", 3)}
    router, in_hand = ScriptedRouter(script), InHand()
    app = make_app(config, NodePaths(config, "a"), router, in_hand)
    async with TestClient(TestServer(app)) as client:
        yield Listening(client, router, in_hand)


async def test_all_that_is_to_be_seen_is_told_first(listening: Listening) -> None:
    reply = await listening.listen()
    assert reply.headers["Content-Type"] == "text/event-stream"
    look = await listening.hear(reply, "look")
    wine = look["dataTypes"]["wine"]
    assert wine["state"]["version"] == 3
    assert wine["features"][-1] == {"name": "alcohol", "datatype": "FP64", "width": None}
    assert look["cluster"]["members"][0]["owns"] == ["beer", "wine"]


async def test_then_only_changes_and_the_time(listening: Listening) -> None:
    reply = await listening.listen()
    await listening.hear(reply, "look")
    first, second = [await listening.hear(reply, "time") for _ in range(2)]
    assert first["at"] < second["at"]
    listening.router.script["state", None] = slot_answer("forest", 4)
    look = await listening.hear(reply, "look")
    assert look["dataTypes"]["wine"]["state"]["version"] == 4


async def test_who_comes_later_is_told_all_as_well(listening: Listening) -> None:
    first = await listening.listen()
    await listening.hear(first, "look")
    await listening.hear(first, "time")
    assert await listening.hear(await listening.listen(), "look")


async def test_a_router_that_is_away_is_told_and_what_was_is_not_repeated(
    listening: Listening,
) -> None:
    reply = await listening.listen()
    await listening.hear(reply, "look")
    listening.router.script["cluster", None] = Unavailable("the router is away")
    assert (await listening.hear(reply, "trouble"))["error"] == "the router is away"


async def test_those_who_listen_do_not_hold_up_the_end(listening: Listening) -> None:
    reply = await listening.listen()
    await listening.hear(reply, "look")
    async with asyncio.timeout(SECONDS):
        listening.in_hand.drain_from_now()
        await reply.read()
        assert await listening.in_hand.drain(SECONDS)
    assert (await listening.listen()).status == 503


async def test_who_does_not_read_does_not_hold_up_the_end_either(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.001)
    large = slot_answer("forest", 3) | {"description": "x" * 5_000_000}
    listening.router.script["state", None] = large
    reply = await listening.listen()
    assert await reply.content.read(10)  # and no more
    async with asyncio.timeout(SECONDS):
        assert await listening.in_hand.drain(SECONDS)


async def test_a_face_that_is_listened_to_ends_as_soon_as_any(
    start_face: Any, eventually: Any
) -> None:
    face = start_face()
    await eventually(lambda: b"listening" in face.log.read_bytes(), "the face listens")
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{face.port}") as session,
        session.get("/events") as reply,
    ):
        assert await reply.content.readline() == b"event: trouble\n"  # it has no router
        face.process.send_signal(signal.SIGTERM)
        await reply.read()
        assert await asyncio.to_thread(face.process.wait, SECONDS) == 0
    assert b"could not be finished" not in face.log.read_bytes()


async def test_no_more_listen_than_there_is_room_for(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_LISTENERS", 1)
    first = await listening.listen()
    assert (await listening.listen()).status == 429
    first.close()
    async with asyncio.timeout(SECONDS):
        while (await listening.listen()).status != 200:
            await asyncio.sleep(0)
