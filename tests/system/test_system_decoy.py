"""A decoy archives what models saw, and what they said: replayed, each says the same again."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repertory.actors.local_node import LocalNode, wait_until

RATE = 1000  # records a second


def replay(node: LocalNode, *arguments: str) -> dict[str, Any]:
    """Replay the archive and return the report; the exit code says whether all was the same."""
    command = [sys.executable, "-m", "repertory", "replay", "--from", "decoy", "wine", "--json"]
    command += ["--config", str(node.config_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_a_policy_archived_is_answered_the_same_again_bit_for_bit(
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    wine_models: Path,
) -> None:
    node = local_node(config=write_config(http={"enabled": False}))
    publish(node, wine_models / "02-random-forest.onnx", name="forest")
    publish(node, wine_models / "05-mlp.onnx", name="mlp")
    outcome = set_policy(node, "canary", "forest", "mlp", decoy=True, options={"share": 0.3})
    assert outcome["state"] == "IN_FORCE", outcome
    with streaming(node, RATE) as stream:
        wait_until(lambda: stream.answered > RATE, "a second's records are answered")
    archive = node.paths.archive
    wait_until(lambda: list(archive.rglob("*.parquet")), "a segment is in the archive", 30)
    report = replay(node)
    assert report["records"] == stream.sent
    assert report["identical"] == stream.sent
    other = replay(node, "--model", "mlp@2")
    assert other["records"] == stream.sent
