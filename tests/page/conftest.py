"""One node, and one browser, for all tests of the page."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.conftest import free_port
from tests.page.browser import Browser, browser_of

from repertory.actors.local_node import LocalNode
from repertory.models.signing import SigningKey

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def page_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node with two data types, of which nobody serves one."""
    folder = tmp_path_factory.mktemp("page")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"]
    document |= {"data_dir": str(folder / "data"), "http": {"port": free_port()}}
    document["data_types"]["cider"] = wine | {"topics": [], "required": False}
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(document))
    with LocalNode(config, log=folder / "node.log") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture(scope="session")
def guarded_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that wants tokens, and signed models: `key.pem`, beside its configuration, signs."""
    folder = tmp_path_factory.mktemp("guarded")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    key = SigningKey.make(folder / "key.pem")
    document |= {"data_dir": str(folder / "data"), "http": {"port": free_port()}}
    document["models"] = {"trusted_keys": [key.public]}
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(document))
    with LocalNode(config, log=folder / "node.log") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[Browser]:
    """Chromium, which takes a second to start; it is asked for before the nodes that it shows."""
    with browser_of("") as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser, page_node: LocalNode) -> Iterator[Browser]:
    """A window with the page of wine; a test fails when the console tells of an error."""
    shared_browser.url = page_node.url
    shared_browser.look()
    shared_browser.open("#/wine")
    yield shared_browser
    assert shared_browser.console() == []


@pytest.fixture
def upload(browser: Browser) -> Callable[[Path, str], str]:
    """Upload a model by the form; what the page says of it."""

    def send(file: Path, name: str) -> str:
        browser.fill("#upload [name=name]", name)
        browser.find("#upload [name=file]").send_keys(str(file))
        browser.find("#upload button").click()
        said = browser.find("#upload-result")
        browser.wait(lambda: said.get_attribute("class"), "the page says what became of it")
        return browser.text("#upload-result")

    return send
