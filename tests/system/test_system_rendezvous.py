"""`make rendezvous`, shortened: the story that it tells is what happened."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "examples" / "wine" / "rendezvous.yaml"
# Other tests run beside it: its fastest model is to keep the deadline all the same.
OPTIONS = ("--seconds-per-act", "3", "--deadline-ms", "60")
COMMAND = [sys.executable, "-m", "examples.wine.rendezvous", *OPTIONS]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Give the example a folder and ports of its own; return its node, which it starts itself."""
    folder = tmp_path_factory.mktemp("rendezvous")
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        http, kafka = first.getsockname()[1], second.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPERTORY_DATA_DIR", str(folder / "data"))
        patch.setenv("REPERTORY_HTTP__PORT", str(http))
        patch.setenv("REPERTORY_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{kafka}")
        yield LocalNode(CONFIG, log=folder / "unused.log")


@pytest.fixture(scope="module")
def told(node: LocalNode) -> str:
    """Play it all; return what it printed."""
    done = subprocess.run(
        COMMAND, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    node.wait_gone(timeout=1)
    return done.stdout


def test_each_act_puts_its_policy_in_force_and_shows_what_it_does(told: str) -> None:
    kinds = re.findall(r"^IN_FORCE policy \d+: (\w+)$", told, re.MULTILINE)
    assert kinds == ["latest", "deadline", "majority", "canary", "canary"]
    shares = r"^answers: forest [\d.]+ %, mlp [\d.]+ %, tree [\d.]+ %; p50 "
    assert re.search(shares, told, re.MULTILINE)
    assert re.search(r"forest / mlp +│ [\d,]+ +│ [78]\d\.\d %", told)


def test_one_canary_is_promoted_and_the_bad_one_is_rolled_back_with_its_reason(told: str) -> None:
    kept = re.search(r"^mlp was promoted: kept to all limits for 3 s", told, re.MULTILINE)
    beyond = re.search(
        r"^mlp-next was rolled back: \d+ of \d+ answers differ from the reference's;"
        r" the limit is 30\.00%$",
        told,
        re.MULTILINE,
    )
    assert kept is not None
    assert beyond is not None
    assert kept.start() < beyond.start()


def test_at_its_end_it_tells_all_policies_and_which_one_is_in_force(told: str) -> None:
    row = r"^│ \d+ +│ (\w+) +│ ([\w, -]+?) +│ [\d:]+ │ (\w+) +│"
    assert re.findall(row, told, re.MULTILINE) == [
        ("latest", "forest", "REPLACED"),
        ("deadline", "forest, mlp, tree", "REPLACED"),
        ("majority", "forest, mlp, tree", "REPLACED"),
        ("canary", "forest, mlp", "REPLACED"),
        ("latest", "mlp", "REPLACED"),
        ("canary", "mlp, mlp-next", "REPLACED"),
        ("latest", "mlp", "IN_FORCE"),
    ]
