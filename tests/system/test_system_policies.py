"""Several models on stage, while slots die, hang and change: every record gets one honest answer."""

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from repertory.actors.batch import PolicyReport, SlotState
from repertory.actors.local_node import LocalNode, wait_until

RATE = 1000  # records a second
SLOTS = ("forest", "mlp", "tree")
FILES = {
    "forest": "02-random-forest.onnx",
    "mlp": "05-mlp.onnx",
    "tree": "01-decision-tree.pmml",
}


@pytest.fixture
def node(
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    wine_models: Path,
) -> LocalNode:
    """Start a node with three models."""
    node = local_node(config=write_config(http={"enabled": False}))
    for name, file in FILES.items():
        assert publish(node, wine_models / file, name=name)["state"] == "SERVING"
    return node


def slot_pid(node: LocalNode, ask: Callable[..., Any], slot: str) -> int:
    return int(ask(node, "status")["data_types"]["wine"]["slots"][slot]["pid"])


def policy_pid(node: LocalNode, ask: Callable[..., Any]) -> int:
    return int(ask(node, "status")["data_types"]["wine"]["policy"]["pid"])


def is_replaced(pid_now: Callable[[], int], pid: int) -> bool:
    return pid_now() != pid


def goes_on(stream: Any, seen: int) -> bool:
    return bool(stream.answered > seen + RATE // 10)


def assert_honest(stream: Any) -> None:
    """Check that all was answered once, each time by a slot that had arrived."""
    assert stream.failures == []
    assert stream.answered == stream.sent
    assert stream.unscored == 0
    for report in stream.reports:
        assert report is not None
        assert_chosen_had_arrived(report)


def assert_chosen_had_arrived(report: PolicyReport) -> None:
    chosen = [0] if report.chosen is None else np.unique(report.chosen).tolist()
    for place in chosen:
        assert report.slots[place].state is SlotState.ARRIVED
        assert not report.slots[place].shadow


@pytest.mark.parametrize("policy", ["majority", "deadline"])
def test_a_slot_that_is_killed_again_and_again_costs_no_answer(
    policy: str,
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
    pytestconfig: pytest.Config,
) -> None:
    assert set_policy(node, policy, *SLOTS, deadlineMs=100)["state"] == "IN_FORCE"
    chance = random.Random(1957)
    with streaming(node, RATE) as stream:
        for kill in range(int(pytestconfig.getoption("--kills"))):
            time.sleep(chance.uniform(0.2, 0.6))  # the moment is the input, drawn from the seed
            pid = slot_pid(node, ask, SLOTS[kill % 3])
            os.kill(pid, signal.SIGKILL)
            slot = SLOTS[kill % 3]
            wait_until(partial(is_replaced, partial(slot_pid, node, ask, slot), pid), slot)
    assert_honest(stream)


def test_a_slot_that_hangs_costs_no_answer_and_is_heard_again_when_it_goes_on(
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    set_policy(node, "deadline", *SLOTS, deadlineMs=100)
    pid = slot_pid(node, ask, "forest")
    with streaming(node, RATE) as stream:
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: chosen_last(stream) == "mlp", "the second best answers")
            seen = stream.answered
            wait_until(lambda: stream.answered > seen + RATE, "a second's records are answered")
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: chosen_last(stream) == "forest", "the best answers again")
    assert_honest(stream)


def chosen_last(stream: Any) -> str | None:
    report: PolicyReport | None = stream.reports[-1]
    slot = None if report is None else report.slot_of(0)
    return None if slot is None else slot.slot


@pytest.mark.parametrize("policy", ["latest", "majority"])
def test_a_policy_actor_that_is_killed_costs_no_answer(
    policy: str,
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    slots = SLOTS if policy == "majority" else ()
    set_policy(node, policy, *slots)
    with streaming(node, RATE) as stream:
        for _ in range(2):
            pid = policy_pid(node, ask)
            os.kill(pid, signal.SIGKILL)
            wait_until(partial(is_replaced, partial(policy_pid, node, ask), pid), "it is back")
            wait_until(partial(goes_on, stream, stream.answered), "records are answered again")
    assert_honest(stream)


def test_a_router_that_is_killed_has_the_policy_at_once(
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    version = set_policy(node, "majority", *SLOTS)["version"]
    with streaming(node, RATE) as stream:
        pid = ask(node, "status")["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: ask(node, "status")["pid"] != pid, "a new router")
        seen = stream.answered
        wait_until(lambda: stream.answered > seen + RATE, "records are answered again")
    assert_honest(stream)
    assert {report.version for report in stream.reports} == {version}


def test_policies_and_models_change_under_load_and_each_answer_says_what_was_in_force(
    node: LocalNode,
    set_policy: Callable[..., Any],
    publish: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
    wine_models: Path,
    pytestconfig: pytest.Config,
) -> None:
    kinds = cycle(["majority", "deadline", "quality", "latest"])
    set_policy(node, "majority", *SLOTS)
    with streaming(node, RATE) as stream:
        for change in range(int(pytestconfig.getoption("--swaps")) // 4):
            kind = next(kinds)
            slots = SLOTS[change % 3 :][:1] if kind == "latest" else SLOTS
            settings = {"deadlineMs": 500} if kind == "deadline" else {}
            outcome = set_policy(node, kind, *slots, **settings)
            assert outcome["state"] == "IN_FORCE", outcome
            name = SLOTS[change % 3]
            state = publish(node, wine_models / FILES[name], name=name)["state"]
            assert state in ("SERVING", "WARM")
    assert_honest(stream)
    policies = ask(node, "policies", data_type="wine")["policies"]
    assert_in_force_then(stream, policies)


def assert_in_force_then(stream: Any, policies: list[dict[str, Any]]) -> None:
    """Check that each answer's policy was in force between the question and the answer."""
    published = {each["version"]: each["published"] for each in policies}
    order = sorted(published)
    over = {
        version: next(each["decided"] for each in policies if each["version"] == successor)
        for version, successor in pairwise(order)
    }
    assert len({report.version for report in stream.reports}) > 2
    for report, (began, ended) in zip(stream.reports, stream.times, strict=True):
        assert published[report.version] <= ended * 1000 + 1
        assert over.get(report.version, float("inf")) >= began * 1000 - 1


def ponderous() -> bytes:
    """A classification that takes a core for about a second, for fifty records."""
    width, layers = 1500, 100
    nodes = [helper.make_node("MatMul", ["x", "first"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "w"], [f"h{i + 1}"]) for i in range(layers)]
    nodes.append(helper.make_node("MatMul", [f"h{layers}", "last"], ["scores"]))
    nodes.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    weights = {
        "first": np.full((11, width), 1e-3, np.float32),
        "w": np.eye(width, dtype=np.float32),
        "last": np.full((width, 10), 1e-3, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "ponderous",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 11])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_model_that_is_never_in_time_and_one_that_is_refused_cost_no_answer(
    node: LocalNode,
    set_policy: Callable[..., Any],
    publish: Callable[..., Any],
    streaming: Callable[..., Any],
    tmp_path: Path,
) -> None:
    file = tmp_path / "ponderous.onnx"
    file.write_bytes(ponderous())
    assert publish(node, file)["state"] == "SERVING"
    outcome = set_policy(node, "deadline", "ponderous", "forest", "tree", deadlineMs=100)
    assert outcome["state"] == "IN_FORCE", outcome
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"garbage")
    with streaming(node, RATE // 2) as stream:
        outcome = publish(node, garbage, name="forest", model_type="ONNX")
        assert outcome["state"] == "REJECTED"
        wait_until(lambda: stream.answered > RATE, "two seconds' records are answered")
    assert_honest(stream)
    assert "forest" in {chosen_of(report) for report in stream.reports}


def chosen_of(report: PolicyReport) -> str:
    slot = report.slot_of(0)
    assert slot is not None
    return slot.slot


def test_after_a_crash_the_node_decides_as_before(
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    options = {
        "share": 0.5,
        "by": "fixed_acidity",
        "promote": False,
        "disagreementRate": 1,
        "p99Ratio": 1000,
    }
    version = set_policy(node, "canary", "forest", "mlp", options=options)["version"]
    with streaming(node, RATE) as before:
        pass
    node.kill()
    node.wait_gone()
    node.start()
    with streaming(node, RATE) as after:
        pass
    assert_honest(after)
    assert after.reports[-1].version == version
    np.testing.assert_array_equal(before.reports[-1].chosen, after.reports[-1].chosen)
    assert set(after.reports[-1].chosen.tolist()) == {0, 1}
