"""Ctrl-C and SIGTERM end a command in order, at any moment, with nothing left behind."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import wait_until

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_node_without_a_model_tells_what_lacks_and_ends(
    number: signal.Signals, up: Callable[..., Any], wine_data: Path, repertory: Callable[..., Any]
) -> None:
    node = up()
    node.wait_until(ready=False)
    shown = repertory("status", "--url", node.url)
    assert shown.out == "node a is not ready\nwine: no model serves 'wine' yet; publish one\n"
    assert "no model was published" in repertory("versions", "wine", "--url", node.url).out
    ended = repertory("score", "wine", wine_data, "--url", node.url)
    assert (ended.code, ended.err) == (1, "Error: no model serves 'wine' yet; publish one\n")
    began = time.monotonic()
    assert node.end_by(number) == 0
    node.wait_gone(timeout=5 - (time.monotonic() - began))
    assert not node.paths.run.exists()
    assert "`repertory publish` brings one" in node.log_tail()


def test_a_node_that_is_still_starting_ends_too(up: Callable[..., Any]) -> None:
    node = up()
    wait_until(lambda: "starting" in node.log_tail(), "it has begun")
    assert node.end_by(signal.SIGINT) == 0
    node.wait_gone(timeout=5)
    assert not node.paths.run.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_broker_ends(number: signal.Signals, tmp_path: Path, command: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        broker = subprocess.Popen([command, "broker", "--port", "0"], stdout=output, stderr=output)
    try:
        wait_until(lambda: b"listening on 127.0.0.1:" in log.read_bytes(), "it listens")
        broker.send_signal(number)
        assert broker.wait(timeout=5) == 0
    finally:
        broker.kill()
        broker.wait()
    assert b"Traceback" not in log.read_bytes()
