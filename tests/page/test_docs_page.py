"""`/docs`, in Chromium: Swagger UI shows all endpoints, and can call them."""

import urllib.request

import orjson
import pytest
from tests.page.browser import Browser

from repertory.actors.local_node import LocalNode


@pytest.fixture
def docs(shared_browser: Browser, page_node: LocalNode) -> Browser:
    """A window with Swagger UI, once it has the document."""
    shared_browser.url = page_node.url
    shared_browser.look()
    shared_browser.driver.get(f"{page_node.url}/docs")
    shared_browser.wait(lambda: shared_browser.all(".opblock"), "operations are shown")
    return shared_browser


def test_all_operations_are_shown_without_an_error(docs: Browser) -> None:
    with urllib.request.urlopen(f"{docs.url}/openapi.json", timeout=10) as reply:
        paths = orjson.loads(reply.read())["paths"]
    assert len(docs.all(".opblock")) == sum(map(len, paths.values()))
    assert docs.console() == []


def test_an_operation_can_be_tried(docs: Browser) -> None:
    operation = "#operations-Node-getHealthLive"
    docs.find(f"{operation} .opblock-summary-control").click()
    docs.wait(lambda: docs.all(f"{operation} .execute"), "it can be executed")
    docs.find(f"{operation} .execute").click()
    answer = f"{operation} .live-responses-table .response-col_status"
    docs.wait(lambda: len(docs.all(answer)) > 1, "it was answered")
    assert "200" in docs.all(answer)[1].text
    assert docs.console() == []
