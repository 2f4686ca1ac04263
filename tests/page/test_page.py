"""The page, in Chromium: what it shows, what can be done with it, and by whom."""

import base64
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from selenium.webdriver.common.keys import Keys
from tests.page.browser import Browser

from repertory.actors.local_node import LocalNode

Upload = Callable[[Path, str], str]
Post = Callable[[str, object], dict[str, object]]
Serve = Callable[[str], int]
RECORD = (7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4)


@pytest.fixture(scope="session")
def post(page_node: LocalNode) -> Post:
    """Call the node, as somebody else than the page."""

    def send(path: str, document: object) -> dict[str, object]:
        headers = {"Content-Type": "application/json"}
        url = page_node.url + path
        request = urllib.request.Request(url, orjson.dumps(document), headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            found: dict[str, object] = orjson.loads(reply.read())
            return found

    return send


@pytest.fixture(scope="session")
def serve(post: Post, wine_models: Path) -> Serve:
    """Have one of the example's models serve, without the page; its version."""

    def publish(file: str) -> int:
        data = base64.b64encode((wine_models / file).read_bytes()).decode()
        version = post("/models", {"dataType": "wine", "name": file, "data": data})["version"]
        assert isinstance(version, int)
        return version

    return publish


def test_a_model_can_be_uploaded(browser: Browser, upload: Upload, wine_models: Path) -> None:
    said = upload(wine_models / "05-mlp.onnx", "perceptron")
    assert said.startswith("perceptron, version ")
    assert said.endswith(": SERVING")
    browser.wait_for("#stage-model", said.removesuffix(": SERVING"))
    browser.wait_for("#versions > li:first-child .state", "SERVING")


def test_an_upload_that_is_rejected_says_why_as_text(
    browser: Browser, upload: Upload, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"no model")
    browser.fill("#upload [name=description]", "<b>bold</b>")
    browser.find("#upload [name=modelType]").send_keys("ONNX")
    said, _, reason = upload(file, "broken").partition(" was rejected: ")
    assert said.startswith("broken, version ")
    assert "model" in reason
    browser.wait_for("#versions > li:first-child .reason", reason)
    assert browser.text("#versions > li:first-child .muted").endswith("<b>bold</b>")
    assert browser.run("return document.querySelectorAll('main b').length") == 0


def test_a_record_is_scored_by_the_version_that_is_told(browser: Browser, serve: Serve) -> None:
    version = serve("05-mlp.onnx")
    fields = browser.all("#try-fields input")
    for field, value in zip(fields, RECORD, strict=True):
        field.send_keys(str(value))
    fields[-1].send_keys(Keys.ENTER)
    browser.wait_for("#try-results", f"by 05-mlp.onnx, version {version}")
    assert browser.text("#try-results strong") == "5"
    fields[0].clear()
    fields[0].send_keys(Keys.ENTER)
    browser.wait_for("#try-results .bad", "fixed_acidity is missing")


def test_a_swap_is_shown_within_a_second(browser: Browser, serve: Serve) -> None:
    for file in ("02-random-forest.onnx", "05-mlp.onnx"):
        now = f"{file}, version {serve(file)}"
        browser.wait(lambda now=now: browser.text("#stage-model") == now, now, seconds=1)  # type: ignore[misc]
        assert browser.text("#news") == f"On stage for wine: {now}"


def test_records_and_errors_are_counted_as_they_come(
    browser: Browser, serve: Serve, post: Post
) -> None:
    serve("05-mlp.onnx")
    post("/score/wine", [{}] * 7)
    browser.wait(lambda: browser.fact("errors") == "7", "errors are counted", seconds=2)
    browser.wait(lambda: browser.fact("errors/s") == "0", "and are over")
    assert browser.fact("records") == "7"
    assert browser.fact("p99 ms") != "–"
    assert "99th percentile" in str(browser.find("#latency").get_attribute("aria-label"))


def test_an_old_version_is_rolled_back_to_once_that_is_confirmed(
    browser: Browser, serve: Serve
) -> None:
    old, new = serve("05-mlp.onnx"), serve("02-random-forest.onnx")
    browser.wait_for("#stage-model", f"version {new}")
    button = f"#versions > li[data-key='{old}'] > button"
    browser.wait(lambda: browser.find(button).is_displayed(), "it can be rolled back to")
    browser.find(button).send_keys(Keys.ENTER)
    browser.find("#confirm button[value=no]").send_keys(Keys.ENTER)
    assert browser.text("#versions-result") == ""
    browser.find(button).send_keys(Keys.ENTER)
    browser.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    browser.wait_for("#versions-result", f"version {old} (05-mlp.onnx): SERVING")
    browser.wait_for("#stage-model", f"version {old}")


def test_each_data_type_has_its_page_and_its_fields(browser: Browser) -> None:
    browser.find("#overview a[href='#/cider']").send_keys(Keys.ENTER)
    browser.wait_for("#stage-title", "cider")
    assert browser.text("#stage-model") == "nothing"
    assert "no model" in browser.text("#stage-trouble")
    assert browser.find("#overview a[aria-current]").text == "cider"
    assert browser.all("#versions > li") == []


def test_nodes_and_shards_are_shown(browser: Browser) -> None:
    assert browser.text("#node") == "node a"
    assert [each.text for each in browser.all("#nodes > tr:first-child > *")][:2] == ["a", "up"]
    assert [each.text for each in browser.all("#shards > tr > th")] == ["cider", "wine"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 340])
def test_all_can_read_and_use_it(browser: Browser, serve: Serve, scheme: str, width: int) -> None:
    serve("05-mlp.onnx")
    browser.look(width=width, scheme=scheme)
    browser.wait_for("#versions > li .state", "SERVING")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(18, 22, 26)") == (scheme == "dark")
    assert browser.serious_problems() == []
