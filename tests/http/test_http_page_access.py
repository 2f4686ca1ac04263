"""The page is shown to everybody, what it tells is not, and it learns who is signed in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.http.security_world import World

BROWSER = {"Accept": "text/html"}
CALLS = {"X-Requested-With": "XMLHttpRequest"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A face that wants tokens."""
    made = World(tmp_path)
    made.token("admin")
    yield made
    if made.client is not None:
        await made.client.close()


@pytest.mark.parametrize("path", ["/", "/page/page.js"])
async def test_the_page_itself_needs_no_token(world: World, path: str) -> None:
    assert (await world.ask("GET", path, BROWSER)).status == 200
    assert world.audit() == []


@pytest.mark.parametrize("path", ["/page/me", "/page/none.js", "/events"])
async def test_all_that_it_asks_for_does(world: World, path: str) -> None:
    assert (await world.ask("GET", path, BROWSER)).status == 401


async def test_nothing_but_reading_is_answered_by_the_page(world: World) -> None:
    assert (await world.ask("POST", "/", BROWSER)).status == 401


async def test_browsers_ask_for_a_password_unless_the_page_does(world: World) -> None:
    asked = [await world.ask("GET", "/page/me", each) for each in (BROWSER, CALLS)]
    challenges = [reply.headers["WWW-Authenticate"] for reply in asked]
    assert ["Basic" in each for each in challenges] == [True, False]
    assert all(each.startswith("Bearer realm=") for each in challenges)


async def test_who_is_signed_in_learns_what_that_allows(world: World) -> None:
    token = world.token("publish", "score", name="release", data_types=("wine",))
    me = await (await world.ask("GET", "/page/me", token)).json()
    assert me["who"].endswith(" (release)")
    assert (me["roles"], me["dataTypes"]) == (["publish", "score"], ["wine"])


async def test_where_no_token_is_needed_everybody_may_do_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    me = await (await world.ask("GET", "/page/me")).json()
    assert me == {"who": "anonymous", "roles": ["admin"], "dataTypes": None}
    await world.client.close()
