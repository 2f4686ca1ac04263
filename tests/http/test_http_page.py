"""The page's files: who gets them, and what they are allowed."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.http.scripted import Ask, ScriptedRouter

from repertory.http.page import FOLDER

Get = Any
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = sorted(path for path in FOLDER.glob("*.*") if path.suffix in (".html", ".js"))


@pytest.fixture
def get(reply_of: Ask) -> Get:
    """Ask a face for a file."""

    async def ask(path: str, **headers: str) -> Any:
        return await reply_of(ScriptedRouter({}), path, headers=headers)

    return ask


async def test_a_browser_gets_the_page_and_others_the_list_of_endpoints(get: Get) -> None:
    page, index = await get("/", **BROWSER), await get("/", Accept="*/*")
    assert (page.content_type, index.content_type) == ("text/html", "application/json")
    assert page.headers["Vary"] == index.headers["Vary"] == "Accept"
    assert "GET /events" in (await index.json())["endpoints"]


async def test_the_page_may_load_nothing_from_elsewhere(get: Get) -> None:
    policy = (await get("/", **BROWSER)).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


async def test_all_that_the_page_loads_is_there(get: Get) -> None:
    text = (FOLDER / "index.html").read_text()
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    imported = [
        f"/page/{name}" for path in OWN for name in re.findall(r'"\./(.+)";', path.read_text())
    ]
    assert len(paths) == 5
    assert {(await get(path)).status for path in {*paths, *imported}} == {200}


async def test_a_file_that_the_browser_has_is_not_sent_again(get: Get) -> None:
    first = await get("/page/page.js")
    again = await get("/page/page.js", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize("name", ["none.js", "../page.py", "..%2fpage.py", "%2e%2e/page.py"])
async def test_nothing_else_is_served(get: Get, name: str) -> None:
    assert (await get(f"/page/{name}")).status == 404


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_texts_are_set_as_texts_only(path: Path) -> None:
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=|style=|<script>"
    )
    assert re.search(unsafe, path.read_text()) is None
