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
# Of the fields that a record is typed into.
NAMES = "return [...document.querySelectorAll('#try-fields input')].map((each) => each.name)"
RECORD = (7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4)


@pytest.fixture(scope="session")
def post(page_node: LocalNode) -> Post:
    """Post to the node, as somebody else than the page."""
    return lambda path, document: send(page_node, "POST", path, document)


@pytest.fixture(scope="session")
def put(page_node: LocalNode) -> Post:
    """Put to the node, as somebody else than the page."""
    return lambda path, document: send(page_node, "PUT", path, document)


def send(node: LocalNode, method: str, path: str, document: object) -> dict[str, object]:
    """Send JSON; the reply's."""
    headers = {"Content-Type": "application/json"}
    body = orjson.dumps(document)
    request = urllib.request.Request(node.url + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as reply:
        found: dict[str, object] = orjson.loads(reply.read())
        return found


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


def test_an_old_version_is_rolled_back_to_once_that_is_confirmed(
    browser: Browser, serve: Serve
) -> None:
    old, new = serve("05-mlp.onnx"), serve("02-random-forest.onnx")
    browser.wait_for("#stage-model", f"version {new}")
    button = f"#versions > li[data-key='{old}'] .actions > button"
    browser.wait(lambda: browser.all(button), "it can be rolled back to")
    browser.find(button).send_keys(Keys.ENTER)
    browser.find("#confirm button[value=no]").send_keys(Keys.ENTER)
    assert browser.text("#versions-result") == ""
    browser.find(button).send_keys(Keys.ENTER)
    browser.driver.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    browser.wait_for("#versions-result", f"05-mlp.onnx, version {old}: SERVING")
    browser.wait_for("#stage-model", f"version {old}")


def test_latencies_are_of_the_last_seconds(browser: Browser, serve: Serve, post: Post) -> None:
    serve("05-mlp.onnx")
    said, unknown = browser.find("#latency"), "99th percentile – ms"
    browser.wait(lambda: unknown in str(said.get_attribute("aria-label")), "nothing is scored")
    post("/score/wine", [{}] * 3)
    browser.wait(lambda: unknown not in str(said.get_attribute("aria-label")), "it is told", 2)
    browser.wait(lambda: unknown in str(said.get_attribute("aria-label")), "and forgotten", 8)
    assert browser.fact("p99 ms") != "–"


def test_the_last_results_name_their_versions(browser: Browser, serve: Serve, post: Post) -> None:
    record = dict(zip(browser.run(NAMES), RECORD, strict=True))
    first = serve("05-mlp.onnx")
    post("/score/wine", [record])
    second = serve("02-random-forest.onnx")
    post("/score/wine", [{}, record])
    top = "#results > tr:nth-child({}) > td:nth-child({})".format
    browser.wait_for(top(1, 2), f"{second} 02-random-forest.onnx")
    assert browser.text(top(1, 3)) == "5"
    assert "is missing" in browser.text(top(2, 3))
    assert (browser.text(top(3, 2)), browser.text(top(3, 3))) == (f"{first} 05-mlp.onnx", "5")


def test_a_data_type_is_retired_once_that_is_confirmed(browser: Browser, serve: Serve) -> None:
    version = serve("05-mlp.onnx")
    act(browser, version, f"Retire version {version}")
    browser.wait_for("#versions-result", f"05-mlp.onnx, version {version}: RETIRED")
    browser.wait_for("#stage-trouble", "was retired")
    browser.wait_for(f"#versions > li[data-key='{version}'] .state", "RETIRED")


def test_a_canary_is_promoted_and_the_policy_is_in_the_timeline(
    browser: Browser, serve: Serve, put: Post
) -> None:
    canary = serve("02-random-forest.onnx")
    serve("05-mlp.onnx")
    slots = ["05-mlp.onnx", "02-random-forest.onnx"]
    settings = {"policy": "canary", "slots": slots, "options": {"share": 0.1}}
    policy = put("/policies/wine", settings)["version"]
    browser.wait_for(f"#versions > li[data-key='{policy}'] strong", f"{policy} policy canary")
    act(browser, canary, f"Promote version {canary}")
    browser.wait_for("#versions-result", "policy latest")
    browser.wait_for("#versions > li:first-child .muted", "was promoted on the page")
    browser.wait_for("#stage-model", "policy latest")
    newest = int(browser.text("#versions > li:first-child strong").split()[0])
    act(browser, newest, f"Remove policy {newest}")
    browser.wait_for("#stage-model", "02-random-forest.onnx")


def test_a_canary_is_rejected(browser: Browser, serve: Serve, put: Post) -> None:
    canary = serve("02-random-forest.onnx")
    serve("05-mlp.onnx")
    slots = ["05-mlp.onnx", "02-random-forest.onnx"]
    put("/policies/wine", {"policy": "canary", "slots": slots, "options": {"share": 0.1}})
    act(browser, canary, f"Reject version {canary}")
    browser.wait_for("#versions > li:first-child .muted", "was rejected on the page")
    newest = int(browser.text("#versions > li:first-child strong").split()[0])
    browser.wait_for(f"#versions > li[data-key='{canary}'] .state", "RETIRED")
    act(browser, newest, f"Remove policy {newest}")
    browser.wait_for("#stage-model", "05-mlp.onnx")


def act(browser: Browser, version: int, label: str) -> None:
    """Press a button in the timeline, and confirm it."""
    inside = f"#versions > li[data-key='{version}'] .actions > button[data-key='{label}']"
    browser.wait(lambda: browser.all(inside), f"there is {label!r}")
    browser.find(inside).send_keys(Keys.ENTER)
    assert browser.text("#confirm-yes") == label
    browser.find("#confirm-yes").send_keys(Keys.ENTER)


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
