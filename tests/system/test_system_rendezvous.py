"""`make rendezvous`, shortened: the story that it tells is what happened."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalNode:
    """Give the example a folder and ports of its own; return its node, which it starts itself."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        http, kafka = first.getsockname()[1], second.getsockname()[1]
    monkeypatch.setenv("REPERTORY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REPERTORY_HTTP__PORT", str(http))
    monkeypatch.setenv("REPERTORY_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{kafka}")
    config = ROOT / "examples" / "wine" / "rendezvous.yaml"
    return LocalNode(config, log=tmp_path / "unused.log")


def test_the_rendezvous_promotes_one_canary_rolls_back_the_other_and_leaves_nothing(
    node: LocalNode,
) -> None:
    command = [sys.executable, "-m", "examples.wine.rendezvous", "--seconds-per-act", "3"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    kinds = re.findall(r"^IN_FORCE policy \d+: (\w+)$", told, re.MULTILINE)
    assert kinds == ["latest", "deadline", "majority", "canary", "canary"]
    assert re.search(
        r"^answers: forest [\d.]+ %, mlp [\d.]+ %, tree [\d.]+ %; p50 ", told, re.MULTILINE
    )
    assert re.search(r"forest / mlp +│ [\d,]+ +│ [78]\d\.\d %", told)
    promoted, rolled_back = told.index("mlp was promoted: kept"), told.index("mlp-next was rolled")
    assert promoted < rolled_back
    assert re.search(r"rolled back: \d+ of \d+ answers differ .*; the limit is 30.00%", told)
    history = re.findall(r"^│ \d+ +│ (\w+) +│ .* │ (REPLACED|IN_FORCE) +│", told, re.MULTILINE)
    assert history == [
        *((kind, "REPLACED") for kind in ("latest", "deadline", "majority", "canary", "latest")),
        ("canary", "REPLACED"),
        ("latest", "IN_FORCE"),
    ]
    node.wait_gone(timeout=1)
