"""Streams that are open when a token is revoked or expires, and who is told of behind a proxy."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.http.oidc_world import Provider
from tests.http.security_world import World

from repertory.http import standing, tokens
from repertory.http.proxies import client_address
from repertory.http.tokens import TokenFile

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times as often."""
    monkeypatch.setattr(standing, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.1)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """An OpenID provider."""
    return Provider(tmp_path)


@pytest.fixture
async def world(tmp_path: Path, provider: Provider) -> AsyncIterator[World]:
    """A world that trusts the provider."""
    world = World(tmp_path, oidc=provider.config(leeway_seconds=0))
    yield world
    await world.close()


async def ends(call: Any) -> grpc.StatusCode:
    """Wait until a stream ends; how."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async with asyncio.timeout(20):
            await call.read()
    return error.value.code()


async def rest(reply: Any) -> bytes:
    async with asyncio.timeout(20):
        return bytes(await reply.read())


async def test_events_end_when_their_token_is_revoked(world: World) -> None:
    reply = await world.ask("GET", "/events", world.token("read", name="laptop"))
    await reply.content.readany()
    TokenFile(world.paths.tokens).remove("laptop")
    await rest(reply)
    (line,) = world.audit()
    assert (line["action"], line["outcome"], line["request"]) == ("access", "ended", "GET /events")
    assert line["who"].endswith("(laptop)")


async def test_events_end_when_their_token_expires(world: World, provider: Provider) -> None:
    for header in (
        world.token("read", lasts=timedelta(seconds=1)),
        provider.token(exp=int(time.time()) + 2),
    ):
        await rest(await world.ask("GET", "/events", header))
        assert world.audit()[-1]["outcome"] == "ended"


async def test_events_of_whom_nobody_asked_for_a_token_end_with_the_first_one(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    reply = await world.ask("GET", "/events")
    await reply.content.readany()
    world.token("read")
    await rest(reply)
    await world.close()


@pytest.mark.parametrize("method", [STREAM, REFLECTION])
async def test_streams_over_grpc_end_when_their_token_is_revoked(world: World, method: str) -> None:
    header = world.token("score", name="app")["Authorization"]
    async with grpc.aio.insecure_channel(await world.grpc()) as channel:
        call: Any = channel.stream_stream(method)(metadata=(("authorization", header),))
        await call.write(b"")
        await call.read()
        TokenFile(world.paths.tokens).remove("app")
        assert await ends(call) == grpc.StatusCode.UNAUTHENTICATED
    assert world.audit()[-1]["request"] == f"gRPC {method}"


async def test_a_stream_whose_token_stands_goes_on(world: World) -> None:
    header = world.token("score")["Authorization"]
    async with grpc.aio.insecure_channel(await world.grpc()) as channel:
        call: Any = channel.stream_stream(REFLECTION)(metadata=(("authorization", header),))
        loop = asyncio.get_running_loop()
        until = loop.time() + 4 * standing.LOOK_SECONDS
        while loop.time() < until:
            await call.write(b"")
            assert isinstance(await call.read(), bytes)
    assert world.audit() == []


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["6.6.6.6", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        ("203.0.113.9", ["6.6.6.6"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["6.6.6.6, ' OR 1=1\n, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("", ["203.0.113.5"], ""),
    ],
)
def test_of_what_proxies_say_the_last_that_none_of_ours_says_counts(
    peer: str, forwarded: list[str], found: str
) -> None:
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == found


@pytest.mark.parametrize(
    ("trusted", "found"), [([], "127.0.0.1"), (["127.0.0.0/8"], "203.0.113.5")]
)
async def test_the_audit_log_names_who_asked_a_trusted_proxy(
    tmp_path: Path, trusted: list[str], found: str
) -> None:
    world = World(tmp_path, trusted_proxies=trusted)
    world.token("read")
    said = {"X-Forwarded-For": "6.6.6.6, 203.0.113.5"}
    assert (await world.ask("GET", "/models", said)).status == 401
    async with grpc.aio.insecure_channel(await world.grpc()) as channel:
        method: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
        with pytest.raises(grpc.aio.AioRpcError):
            await method(b"", metadata=(("x-forwarded-for", said["X-Forwarded-For"]),))
    assert [each["from"] for each in world.audit()] == [found, found]
    await world.close()
