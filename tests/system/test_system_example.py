"""`make run`, as a person runs it: in a terminal, ended by Ctrl-C, and run again."""

import os
import pty
import re
import select
import socket
import sys
import time
from pathlib import Path

import pytest

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parent.parent.parent
CTRL_C = b"\x03"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """The example in a terminal of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            command = [sys.executable, "-m", "examples.wine.run", "--every", "3"]
            os.execvpe(sys.executable, command, environment)
        self.screen = ""

    def wait_for(self, text: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.screen:
            assert time.monotonic() < deadline, f"never saw {text!r} in {self.screen[-2000:]}"
            self._read()

    def _read(self) -> bool:
        """Read what is there; False when the other side is closed."""
        if not select.select([self._master], [], [], 0.1)[0]:
            return True
        try:
            shown = os.read(self._master, 65536).decode(errors="replace")
            self.screen += COLOURS.sub("", shown)
        except OSError:
            return False
        return True

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def wait(self) -> int:
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        http, kafka = first.getsockname()[1], second.getsockname()[1]
    monkeypatch.setenv("REPERTORY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REPERTORY_HTTP__PORT", str(http))
    monkeypatch.setenv("REPERTORY_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{kafka}")
    return {**os.environ, "COLUMNS": "120", "LINES": "50", "TERM": "xterm"}


def test_the_example_serves_stops_at_ctrl_c_and_serves_again_from_its_snapshot(
    environment: dict[str, str], tmp_path: Path
) -> None:
    node = LocalNode(ROOT / "cluster.yaml", log=tmp_path / "unused.log")
    first = Terminal(environment)
    first.wait_for("serving version 1")
    first.wait_for("RETIRED")
    first.wait_for("results on Kafka")
    version = node.get("/state/wine")["version"]
    first.press(CTRL_C)
    pressed = time.monotonic()
    assert first.wait() == 0
    assert time.monotonic() - pressed < 5
    node.wait_gone(timeout=1)
    second = Terminal(environment)
    second.wait_for("from its snapshot")
    assert node.get("/state/wine")["version"] >= version
    second.press(CTRL_C)
    assert second.wait() == 0
    node.wait_gone(timeout=1)
