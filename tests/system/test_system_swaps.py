"""A model is swapped while it serves: no record is lost, and no result is of the wrong version."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest

from repertory.actors.local_node import LocalNode

RATE = 5000  # records a second


@pytest.fixture
def node(local_node: Callable[..., LocalNode], write_config: Callable[..., Path]) -> LocalNode:
    node = local_node(config=write_config(http={"enabled": False}))
    return node


def resident(ask: Callable[..., Any], node: LocalNode) -> int:
    pid = ask(node, "status")["data_types"]["wine"]["pid"]
    return int(psutil.Process(pid).memory_info().rss)


def test_swaps_under_load_lose_nothing_and_leak_nothing(
    node: LocalNode,
    streaming: Callable[..., Any],
    publish: Callable[..., Any],
    ask: Callable[..., Any],
    wine_models: Path,
    pytestconfig: pytest.Config,
) -> None:
    swaps = int(pytestconfig.getoption("--swaps"))
    models = cycle([wine_models / "02-random-forest.onnx", wine_models / "05-mlp.onnx"])
    publish(node, next(models))
    memory = {}
    with streaming(node, RATE) as stream:
        for swap in range(1, swaps + 1):
            assert publish(node, next(models))["state"] == "SERVING"
            if swap in (min(20, swaps // 2), swaps):
                memory[swap] = resident(ask, node)
    assert stream.failures == []
    assert stream.answered == stream.sent
    assert_versions_were_serving(stream, ask(node, "versions", data_type="wine")["versions"])
    early, late = memory.values()
    print(f"resident {early:,} then {late:,} bytes; {stream.answered:,} records answered")
    assert late < 1.10 * early, f"resident memory went from {early:,} to {late:,} bytes"


def assert_versions_were_serving(stream: Any, versions: list[dict[str, Any]]) -> None:
    serving = {each["version"]: each["servingSince"] for each in versions}
    retired = {each["version"]: each["retired"] or float("inf") for each in versions}
    for lane in stream.replies:
        seen = [version for version, _, _ in lane]
        assert seen == sorted(seen), "versions went backwards within a partition"
        for version, began, ended in lane:
            # It served at some moment between the question and the answer.
            assert serving[version] <= ended * 1000 + 1
            assert retired[version] >= began * 1000 - 1
