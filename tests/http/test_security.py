"""Who is let in, who is not, and what the audit log says of it. Nothing but the router is a script."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.http.security_world import World

from repertory.config import Role
from repertory.http import tokens
from repertory.http.routes import Endpoint
from repertory.http.tokens import TokenBook, TokenFile, make_token

Make = Callable[..., World]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make worlds, which are closed with the test."""
    made: list[World] = []

    def world(**http: Any) -> World:
        made.append(World(tmp_path, **http))
        return made[-1]

    yield world
    for each in made:
        await each.close()


async def test_on_loopback_without_tokens_everybody_is_let_in(make: Make) -> None:
    world = make()
    assert (await world.ask("GET", "/models")).status == 200
    assert (await world.ask("DELETE", "/models/wine")).status == 200
    assert world.audit()[0]["who"] == "anonymous"


@pytest.mark.parametrize(
    "path", ["/models", "/", "/metrics", "/events", "/v2", "/nothing", "/page/x"]
)
async def test_no_token_is_a_401_everywhere(make: Make, path: str) -> None:
    world = make()
    world.token("admin")
    reply = await world.ask("GET", path)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    (line,) = world.audit()
    assert (line["action"], line["outcome"], line["reason"]) == ("access", "refused", "no token")
    assert (line["from"], line["request"]) == ("127.0.0.1", f"GET {path}")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v2/health/live"])
async def test_health_is_for_everybody(make: Make, path: str) -> None:
    world = make()
    world.token("admin")
    assert (await world.ask("GET", path)).status in (200, 503)
    assert world.audit() == []


async def test_a_wrong_token_is_a_401(make: Make) -> None:
    world = make()
    right = world.token("admin")["Authorization"]
    wrong = right[:-1] + ("A" if right[-1] != "A" else "B")
    reply = await world.ask("GET", "/models", {"Authorization": wrong})
    assert (reply.status, world.audit()[0]["reason"]) == (401, "unknown token")
    assert (await world.ask("GET", "/models", {"Authorization": right})).status == 200
    assert wrong.split()[1] not in world.paths.audit.read_text()


@pytest.mark.parametrize("header", ["", "Bearer", "Digest x", "Basic ä", "Basic eDp5", "Bearer é"])
async def test_what_is_no_token_is_a_401(make: Make, header: str) -> None:
    world = make()
    world.token("admin")
    assert (await world.ask("GET", "/models", {"Authorization": header})).status == 401


async def test_an_expired_token_is_a_401_and_named_in_the_log(make: Make) -> None:
    world = make()
    header = world.token("admin", name="ci", lasts=timedelta(seconds=-1))
    assert (await world.ask("GET", "/models", header)).status == 401
    (line,) = world.audit()
    assert line["reason"] == "expired token"
    assert line["who"].endswith("(ci)")


@pytest.mark.parametrize(
    ("role", "method", "path", "needed"),
    [
        ("read", "POST", "/score/wine", "score"),
        ("read", "DELETE", "/models/wine", "publish"),
        ("score", "POST", "/models", "publish"),
        ("score", "PUT", "/policies/wine", "publish"),
        ("publish", "POST", "/score/wine", "score"),
        ("publish", "POST", "/v2/models/wine/infer", "score"),
        ("score", "POST", "/v2/repository/models/wine/load", "publish"),
        ("publish", "POST", "/v1/models/wine:predict", "score"),
    ],
)
async def test_a_wrong_role_is_a_403_that_names_the_right_one(
    make: Make, role: Role, method: str, path: str, needed: str
) -> None:
    world = make()
    reply = await world.ask(method, path, world.token(role))
    assert reply.status == 403
    assert f"needs the role {needed}" in (await reply.json())["error"]
    assert world.audit()[0]["reason"].startswith(f"this needs the role {needed}")


async def test_each_role_may_read_and_admin_may_all(make: Make) -> None:
    world = make()
    roles: tuple[Role, ...] = ("read", "score", "publish", "admin")
    for role in roles:
        assert (await world.ask("GET", "/models", world.token(role))).status == 200
    assert (await world.ask("DELETE", "/models/wine", world.token("admin"))).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/cider/versions"),
        ("POST", "/score/cider"),
        ("DELETE", "/models/cider"),
        ("GET", "/v2/models/cider"),
        ("POST", "/v2/models/cider/infer"),
        ("POST", "/v2/repository/models/cider/unload"),
        ("GET", "/v1/models/cider"),
        ("POST", "/v1/models/cider:predict"),
    ],
)
async def test_another_data_type_is_a_403(make: Make, method: str, path: str) -> None:
    world = make()
    header = world.token("score", "publish", data_types=("wine",))
    reply = await world.ask(method, path, header)
    assert reply.status == 403
    assert "data type 'cider'" in (await reply.json())["error"]
    assert "data type 'cider'" in world.audit()[0]["reason"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models"),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/cluster"),
        ("GET", "/events"),
        ("GET", "/v2/models"),
        ("POST", "/v2/repository/index"),
    ],
)
async def test_what_tells_of_all_data_types_is_not_for_those_with_one(
    make: Make, method: str, path: str
) -> None:
    world = make()
    reply = await world.ask(method, path, world.token("admin", data_types=("wine",)))
    assert reply.status == 403
    assert "all data types" in (await reply.json())["error"]


async def test_a_model_for_another_data_type_is_not_published(make: Make) -> None:
    world = make()
    header = world.token("publish", data_types=("wine",))
    for data_type, status in (("cider", 403), ("wine", 404)):  # the script knows of no publishing
        body = {"dataType": data_type, "name": "m", "data": "eHh4"}
        assert (await world.ask("POST", "/models", header, json=body)).status == status
    refused, failed = world.audit()
    assert "'cider'" in refused["reason"]
    assert (failed["action"], failed["outcome"], failed["name"]) == ("publish", "failed", "m")


async def test_one_data_type_is_enough_for_itself(make: Make) -> None:
    world = make()
    header = world.token("score", "publish", data_types=("wine",))
    for path in ("/models/wine/versions", "/v2", "/v2/models/wine", "/"):
        assert (await world.ask("GET", path, header)).status == 200
    assert (await world.ask("DELETE", "/models/wine", header)).status == 200


async def test_changes_are_told_with_who_what_whence_and_what_became_of_it(make: Make) -> None:
    world = make()
    header = world.token("publish", name="release")
    await world.ask("DELETE", "/models/wine", header)
    await world.ask("POST", "/models/wine/rollback", header, json={"version": 3})
    retired, rolled_back = world.audit()
    assert (retired["action"], retired["outcome"], retired["version"]) == ("retire", "retired", 3)
    assert retired["who"].endswith("(release)")
    assert (retired["from"], retired["dataType"]) == ("127.0.0.1", "wine")
    assert rolled_back["action"] == "rollback"
    assert header["Authorization"].split()[1] not in world.paths.audit.read_text()
    assert world.paths.audit.stat().st_mode & 0o777 == 0o600


async def test_nothing_that_is_sent_forges_a_line(make: Make) -> None:
    world = make()
    forged = 'x"}\n{"action": "publish", "who": "boss"}\r\x85\u2028\x1b[2J\x00'
    header = world.token("publish")
    body = {"dataType": "wine", "name": forged, "data": "eHh4"}
    await world.ask("POST", "/models", header, json=body)
    await world.ask("GET", "/%0A%7B%22who%22:1%7D%E2%80%A8")
    named, asked = world.audit()
    assert named["name"] == forged
    assert asked["request"].startswith('GET /\n{"who":1}')
    raw = world.paths.audit.read_bytes()
    assert raw.count(b"\n") == 2
    assert set(raw) <= {ord("\n"), *range(0x20, 0x7F)}


async def test_bad_tokens_are_answered_and_logged_so_often_and_no_more(make: Make) -> None:
    world = make()
    right = world.token("read")
    wrong = {"Authorization": "Bearer guessed"}
    statuses = [(await world.ask("GET", "/models", wrong)).status for _ in range(40)]
    assert statuses[:20] == [401] * 20
    assert statuses[-1] == 429
    assert len(world.audit()) == statuses.count(401)
    assert (await world.ask("GET", "/models", right)).status == 200


async def test_a_client_that_asks_too_often_is_told_when_to_try_again(make: Make) -> None:
    world = make(rate_limit=0.001, rate_burst=3)
    one, other = world.token("read"), world.token("read")
    replies = [await world.ask("GET", "/models", one) for _ in range(4)]
    assert [each.status for each in replies] == [200, 200, 200, 429]
    assert replies[-1].headers["Retry-After"] == "1"
    assert (await world.ask("GET", "/models", other)).status == 200
    assert (await world.ask("GET", "/health/live")).status == 200


@pytest.fixture
def every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file of tokens looked at with each request."""
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.0)


async def test_a_revoked_token_is_of_no_use_a_second_later(make: Make) -> None:
    world, loop = make(), asyncio.get_running_loop()
    header = world.token("read", name="laptop")
    assert (await world.ask("GET", "/models", header)).status == 200
    TokenFile(world.paths.tokens).remove("laptop")
    until = loop.time() + 10
    while (await world.ask("GET", "/models", header)).status == 200:
        assert loop.time() < until
    assert world.audit()[-1]["reason"] == "unknown token"


def test_the_file_is_looked_at_once_a_second_and_for_tokens_that_are_not_known(
    tmp_path: Path,
) -> None:
    now, file = 0.0, TokenFile(tmp_path / "tokens.json")
    (one, kept), (two, other) = make_token(("read",), name="one"), make_token(("read",))
    file.add(kept)
    book = TokenBook(file, clock=lambda: now)
    file.remove("one")
    book.refresh()
    assert book.find(one)
    now = 1.0
    book.refresh()
    assert book.find(one) is None
    file.add(other)
    assert book.find(two)


@pytest.mark.usefixtures("every_look")
async def test_a_file_that_goes_or_breaks_opens_nothing(make: Make) -> None:
    world = make()
    header = world.token("read")
    assert (await world.ask("GET", "/models", header)).status == 200
    world.paths.tokens.write_text("garbage")
    assert (await world.ask("GET", "/models", header)).status == 200
    world.paths.tokens.unlink()
    assert (await world.ask("GET", "/models")).status == 401


@pytest.mark.usefixtures("every_look")
async def test_a_first_token_closes_a_node_that_runs(make: Make) -> None:
    world = make()
    assert (await world.ask("GET", "/models")).status == 200
    world.token("read")
    assert (await world.ask("GET", "/models")).status == 401


def _basic(header: dict[str, str]) -> Any:
    pair = f"me:{header['Authorization'].split()[1]}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


async def test_a_browser_sends_a_token_as_a_password_but_not_for_other_sites(make: Make) -> None:
    world = make()
    header = _basic(world.token("publish"))
    assert (await world.ask("GET", "/models", header)).status == 200
    foreign = header | {"Origin": "https://elsewhere.example"}
    assert (await world.ask("DELETE", "/models/wine", foreign)).status == 403
    assert "another site" in world.audit()[0]["reason"]
    own = header | {"Origin": f"http://127.0.0.1:{world.client.port}"}
    assert (await world.ask("DELETE", "/models/wine", own)).status == 200


async def test_an_endpoint_that_says_nothing_needs_the_role_admin_for_all(make: Make) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    forgotten = Endpoint("GET", "/forgotten", handler)
    assert (forgotten.role, forgotten.of_all) == ("admin", True)


async def test_a_model_that_is_too_large_is_a_413_and_told(make: Make) -> None:
    world = make()
    world.config = world.config.model_copy(
        update={"models": world.config.models.model_copy(update={"max_mb": 1})}
    )
    reply = await world.ask(
        "POST", "/models", world.token("publish"), data=io.BytesIO(b" " * 3_000_000)
    )
    assert reply.status == 413
    (line,) = world.audit()
    assert (line["action"], line["outcome"]) == ("change", "refused")
    assert line["reason"] == "the model is larger than 1 MiB (models.max_mb)"


async def test_what_one_visitor_may_is_not_what_the_next_may(make: Make) -> None:
    world = make()
    wine, cider = (world.token("read", data_types=(each,)) for each in ("wine", "cider"))
    asks: list[Awaitable[Any]] = [
        world.ask("GET", "/models/wine/versions", each) for each in [wine, cider] * 20
    ]
    first = await asks.pop(0)
    statuses = [first.status, *[each.status for each in await asyncio.gather(*asks)]]
    assert statuses == [200, 403] * 20
