"""Chromium without a screen, as Debian packages it, and what a page is asked in it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

# The first page of a browser on two busy cores.
PATIENCE_SECONDS = 20.0
# axe-core 4.14.1 (MPL-2.0), from the npm package "axe-core", unchanged; for tests only.
AXE = Path(__file__).with_name("axe.min.js")

# Chromium logs each answer that says no: that a model is rejected, or a token, is the page's business.
SAID_NO = re.compile(
    r"/(models|page/me|events|models/wine/versions|policies/wine/versions)"
    r" - Failed to load resource: the server responded with a status of (422|401|403) "
)


def do_without(reason: str) -> NoReturn:
    """Skip a test, and say why; on CI, where a browser is obligatory, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}\n(CI is set: there, a browser is obligatory)", pytrace=False)
    pytest.skip(reason)


class Browser:
    """A window that shows the page of a node."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, fragment: str = "") -> None:
        """Show the page from its beginning, live."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{fragment}")
        self.wait_for("#connection", "live")

    def find(self, selector: str) -> WebElement:
        """Return the first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return all elements there are."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def fact(self, name: str) -> str:
        """Return a figure of what is on stage."""
        return self.text(f"#stage-facts > [data-key='{name}'] dd")

    def text(self, selector: str) -> str:
        """Return what an element says, also when it is out of sight."""
        return str(self.find(selector).get_property("textContent"))

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 0) -> None:
        """Wait for an event. Raises TimeoutException, naming it."""
        waiting = WebDriverWait(self.driver, seconds or PATIENCE_SECONDS, poll_frequency=0.02)
        waiting.until(lambda _: condition(), what)

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until an element says something."""
        self.wait(lambda: text in self.text(selector), f"{selector} says {text!r}")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field what it is to hold."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def look(self, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Have a window of a size, and the colours that its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def serious_problems(self) -> list[str]:
        """Return what axe-core finds that keeps people from using the page."""
        self.run(AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done)"
        )
        return [
            f"{each['id']}: {node['html']}: {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def console(self) -> list[str]:
        """Return the errors and warnings that were logged since it was asked last, but `SAID_NO`."""
        return [
            each["message"]
            for each in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if each["level"] in ("SEVERE", "WARNING") and not SAID_NO.search(each["message"])
        ]


@contextmanager
def browser_of(url: str) -> Iterator[Browser]:
    """Start Chromium; skip, or on CI fail, the test when it is not installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        do_without(
            "the page was not tested: Chromium is missing (apt install chromium chromium-driver)"
        )
    options = Options()
    options.binary_location = chromium
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(each)
    options.add_argument("--lang=en")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started, url)
    finally:
        started.quit()
