"""What a client does when nodes are away, overloaded or slow, and what it sends them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.client.conftest import Serve

from repertory.actors.local_node import LocalNode
from repertory.client import (
    AccessDenied,
    AsyncClient,
    Client,
    DeadlineExceeded,
    InternalError,
    NoModel,
    Overloaded,
    RequestFailed,
    Unavailable,
    Unreachable,
)
from repertory.config import load_config

SCORED = {"dataType": "wine", "model": None, "results": [{"value": 5.5}]}
PUBLISHED = {"dataType": "wine", "name": "m", "version": 1, "state": "SERVING"}


def busy(status: int, retry_after: str | None = "0") -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return web.json_response({"error": f"says {status}"}, status=status, headers=headers)


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def sleep_on(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("nothing wakes it")


def score(client: Client) -> Any:
    return client.score("wine", {"pH": 3.3})[0].value


@pytest.fixture(params=["sync", "async"])
def scored_by(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    """Score a record with either client; its value."""

    async def with_sync(urls: str | list[str], **options: Any) -> Any:
        with Client(urls, **options) as client:
            return await asyncio.to_thread(score, client)

    async def with_async(urls: str | list[str], **options: Any) -> Any:
        async with AsyncClient(urls, **options) as client:
            return (await client.score("wine", {"pH": 3.3}))[0].value

    return with_sync if request.param == "sync" else with_async


ScoredBy = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("status", [429, 503])
async def test_what_a_node_cannot_do_just_now_is_asked_again(
    serve: Serve, scored_by: ScoredBy, status: int
) -> None:
    script = await serve(busy(status), busy(status), web.json_response(SCORED))
    assert await scored_by(script.url) == 5.5
    assert script.asked == ["POST /score/wine"] * 3


async def test_the_time_that_a_node_names_is_kept_to(serve: Serve, scored_by: ScoredBy) -> None:
    script = await serve(busy(429, "1"), web.json_response(SCORED))
    start = time.monotonic()
    await scored_by(script.url)
    assert time.monotonic() - start >= 1


async def test_a_moment_that_a_node_names_is_kept_to(serve: Serve, scored_by: ScoredBy) -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    script = await serve(busy(503, tomorrow))
    start = time.monotonic()
    with pytest.raises(Unavailable, match="says 503"):
        await scored_by(script.url)
    assert len(script.asked) == 1
    assert time.monotonic() - start < 10


async def test_retries_end(serve: Serve, scored_by: ScoredBy) -> None:
    script = await serve(busy(429))
    with pytest.raises(Overloaded, match="says 429"):
        await scored_by(script.url, retries=2)
    assert len(script.asked) == 3


async def test_no_retry_goes_beyond_the_time_allowed(serve: Serve, scored_by: ScoredBy) -> None:
    script = await serve(busy(429, "30"))
    start = time.monotonic()
    with pytest.raises(Overloaded):
        await scored_by(script.url, timeout=20)
    assert time.monotonic() - start < 10


async def test_a_slow_node_is_given_up_in_time_and_told_how_long_it_has(
    serve: Serve, scored_by: ScoredBy
) -> None:
    script = await serve(sleep_on)
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 0.3 s"):
        await scored_by(script.url, timeout=0.3)
    assert len(script.asked) == 1
    assert 0 < float(script.headers[0]["X-Request-Timeout"]) <= 0.3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (lambda: busy(503, None), NoModel),
        (lambda: busy(401), AccessDenied),
        (lambda: busy(403), AccessDenied),
        (lambda: busy(500), InternalError),
        (lambda: web.Response(text="hello"), InternalError),
        (lambda: web.json_response({"results": []}), InternalError),
    ],
)
async def test_what_will_not_change_is_not_asked_again(
    serve: Serve, scored_by: ScoredBy, reply: Callable[[], web.Response], error: type[RequestFailed]
) -> None:
    script = await serve(reply())
    with pytest.raises(error):
        await scored_by(script.url)
    assert len(script.asked) == 1


async def test_another_node_is_asked_when_one_is_away_or_breaks_off(
    serve: Serve, scored_by: ScoredBy, dead_url: str
) -> None:
    broken, well = await serve(hang_up), await serve(web.json_response(SCORED))
    assert await scored_by([dead_url, broken.url, well.url], retries=0) == 5.5
    assert len(broken.asked) == 1


async def test_the_node_that_answered_is_asked_first_from_then_on(serve: Serve) -> None:
    away, well = await serve(busy(503), busy(503)), await serve(web.json_response(SCORED))
    async with AsyncClient([away.url, well.url]) as client:
        for _ in range(3):
            await client.score("wine", {})
    assert (len(away.asked), len(well.asked)) == (1, 3)


async def test_a_real_node_is_found_behind_a_dead_one(
    node: LocalNode, dead_url: str, wines: list[dict[str, float]], wine_models: Path
) -> None:
    async with AsyncClient([dead_url, node.url]) as client:
        assert (await client.score("wine", wines))[0].label == "5"
    async with AsyncClient([dead_url, node.url]) as client:
        assert (await client.publish("perry", wine_models / "05-mlp.onnx")).state == "SERVING"


async def test_where_nobody_answers_it_is_said_who_was_asked(
    scored_by: ScoredBy, dead_url: str
) -> None:
    with pytest.raises(Unreachable, match=f"^no answer from {dead_url}: "):
        await scored_by(dead_url, retries=1)


async def test_a_model_that_was_sent_is_not_sent_twice(serve: Serve) -> None:
    broken, well = await serve(hang_up), await serve(web.json_response(PUBLISHED))
    async with AsyncClient([broken.url, well.url]) as client:
        with pytest.raises(Unreachable, match="whether it did what it was asked is unknown"):
            await client.publish("wine", b"model", name="m")
    assert (len(broken.asked), well.asked) == (1, [])


async def test_a_model_is_sent_again_whole_when_the_node_said_that_it_took_none(
    serve: Serve, tmp_path: Path, dead_url: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(content := b"weights" * 100_000)
    script = await serve(busy(503), web.json_response(PUBLISHED, status=201))
    async with AsyncClient([dead_url, script.url]) as client:
        assert (await client.publish("wine", tmp_path / "m.onnx")).state == "SERVING"
    assert [content in body for body in script.bodies] == [True, True]


async def test_the_token_is_sent_and_shown_nowhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPERTORY_TOKEN", "from-environment")
    script = await serve(web.json_response(SCORED))
    async with AsyncClient(script.url) as first, AsyncClient(script.url, token="own") as second:
        await first.score("wine", {})
        await second.score("wine", {})
    sent = [headers["Authorization"] for headers in script.headers]
    assert sent == ["Bearer from-environment", "Bearer own"]
    with pytest.raises(ValueError, match="token has") as caught:
        Client(token="secret\n")
    assert "secret" not in str(caught.value)


def test_a_node_does_not_take_the_token_for_a_key_of_its_configuration(
    write_config: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPERTORY_TOKEN", "from-environment")
    load_config(write_config())


async def test_a_redirect_is_not_followed_with_the_token(serve: Serve) -> None:
    other = await serve(web.json_response(SCORED))
    script = await serve(web.Response(status=307, headers={"Location": f"{other.url}/score/wine"}))
    async with AsyncClient(script.url, token="own") as client:
        with pytest.raises(InternalError, match="answered 307"):
            await client.score("wine", {})
    assert other.asked == []


@pytest.mark.parametrize("url", ["ftp://node", "http://", "http://a:b", "http://a?x=1", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        Client(url)


def test_at_least_one_address_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Client([])
