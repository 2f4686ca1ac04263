"""A canary's trial on a node: who stays on stage is journaled, with the reason."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from repertory.actors.local_node import LocalNode, wait_until
from repertory.errors import InvalidRequest

RATE = 1000  # records a second
OPTIONS = {"share": 0.5, "windowSeconds": 2, "records": 200, "p99Ratio": 100}


@pytest.fixture
def node(
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    wine_models: Path,
) -> LocalNode:
    """Start a node with a model, and the same once more under another name."""
    node = local_node(config=write_config(http={"enabled": False}))
    for name, file in (("old", "02-random-forest.onnx"), ("new", "02-random-forest.onnx")):
        publish(node, wine_models / file, name=name)
    return node


def always_nought() -> bytes:
    """A classification that says 0 of every wine."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        "nought",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 11])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])],
        [numpy_helper.from_array(np.zeros((11, 2), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def policies(node: LocalNode, ask: Callable[..., Any]) -> list[dict[str, Any]]:
    """Return the history, the newest first."""
    found: list[dict[str, Any]] = ask(node, "policies", data_type="wine")["policies"]
    return found


def newest_in_force(node: LocalNode, ask: Callable[..., Any]) -> dict[str, Any]:
    return next(each for each in policies(node, ask) if each["state"] == "IN_FORCE")


def test_a_canary_that_keeps_to_its_limits_takes_the_references_place(
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    trial = set_policy(node, "canary", "old", "new", options=OPTIONS)["version"]
    with streaming(node, RATE) as stream:
        wait_until(lambda: newest_in_force(node, ask)["version"] != trial, "the trial ends")
        seen = stream.answered
        wait_until(lambda: stream.answered > seen + RATE, "it serves on")
    successor = newest_in_force(node, ask)
    assert successor["settings"] == {"policy": "latest", "slots": ["new"]}
    assert successor["description"].startswith("new was promoted: kept to all limits for 2 s")
    assert stream.failures == []
    assert {each["state"] for each in policies(node, ask)} == {"IN_FORCE", "REPLACED"}
    versions = ask(node, "versions", data_type="wine")["versions"]
    assert {each["name"]: each["state"] for each in versions}["old"] == "RETIRED"


def test_a_canary_that_answers_otherwise_is_rolled_back_while_all_is_answered(
    node: LocalNode,
    set_policy: Callable[..., Any],
    publish: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
    tmp_path: Path,
) -> None:
    file = tmp_path / "nought.onnx"
    file.write_bytes(always_nought())
    publish(node, file, name="other")
    options = {**OPTIONS, "disagreementRate": 0.5}
    trial = set_policy(node, "canary", "old", "other", options=options)["version"]
    with streaming(node, RATE) as stream:
        wait_until(lambda: newest_in_force(node, ask)["version"] != trial, "the trial ends")
    successor = newest_in_force(node, ask)
    assert successor["settings"] == {"policy": "latest", "slots": ["old"]}
    assert "answers differ from the reference's; the limit is 50.00%" in successor["description"]
    assert stream.failures == []
    assert stream.answered == stream.sent


def test_a_policy_that_is_over_can_be_put_in_force_again(
    node: LocalNode, set_policy: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    first = set_policy(node, "latest", "old")["version"]
    set_policy(node, "majority", "old", "new")
    again = ask(node, "policy_rollback", data_type="wine", version=first)
    assert again["state"] == "IN_FORCE"
    assert again["version"] > first
    assert again["settings"] == {"policy": "latest", "slots": ["old"]}
    [model] = ask(node, "models")["models"]
    assert (model["name"], model["slot"]) == ("old", "old")
    # What follows from a policy that is over, as a verdict that comes late, overrides nothing.
    late = {"data_type": "wine", "settings": '{"policy": "latest"}', "supersedes": first}
    with pytest.raises(InvalidRequest, match=f"was published after policy {first}"):
        ask(node, "policy", **late)


CANNOT_BE: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    ("majority", ("old", "nobody"), {}, "slot 'nobody' has no model: publish one of this name"),
    ("deadline", ("old", "new"), {"deadlineMs": 0.01}, "cannot be met: the fallback 'new'"),
    ("canary", ("old", "new"), {"options": {"by": "colour"}}, "has no field 'colour'"),
    ("quality", ("old", "new"), {"options": {"confidences": {"new": "m"}}}, "no output 'm'"),
]


def test_a_policy_that_cannot_be_is_rejected_with_the_reason_and_changes_nothing(
    node: LocalNode, set_policy: Callable[..., Any], ask: Callable[..., Any]
) -> None:
    before = ask(node, "models")["models"]
    for policy, slots, settings, says in CANNOT_BE:
        outcome = set_policy(node, policy, *slots, **settings)
        assert outcome["state"] == "REJECTED"
        assert says in outcome["reason"]
    assert ask(node, "models")["models"] == before
    assert "policy" not in ask(node, "status")["data_types"]["wine"]


def test_a_model_that_no_policy_names_waits_and_comes_on_stage_when_one_does(
    node: LocalNode,
    set_policy: Callable[..., Any],
    publish: Callable[..., Any],
    ask: Callable[..., Any],
    wine_models: Path,
) -> None:
    set_policy(node, "latest", "old")
    outcome = publish(node, wine_models / "05-mlp.onnx", name="later")
    assert (outcome["state"], outcome["reason"]) == (
        "WARM",
        "the policy in force does not name it",
    )
    assert set_policy(node, "majority", "old", "later")["state"] == "IN_FORCE"
    outcome = publish(node, wine_models / "03-linear-regression.pmml", name="later")
    assert outcome["state"] == "REJECTED"
    assert "do not answer the same question" in outcome["reason"]
    ask(node, "retire", data_type="wine")
    assert ask(node, "models")["models"] == []
    assert ask(node, "health")["waiting_for"] == ["wine"]


def test_a_canary_answers_while_the_reference_is_away(
    node: LocalNode,
    set_policy: Callable[..., Any],
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
) -> None:
    set_policy(node, "canary", "old", "new", options={**OPTIONS, "promote": False})
    with streaming(node, RATE) as stream:
        for _ in range(2):
            pid = reference_pid(node, ask)
            os.kill(pid, signal.SIGKILL)
            wait_until(partial(goes_on, stream, stream.answered), "records are answered")
            wait_until(partial(is_replaced, node, ask, pid), "the reference is back")
    assert stream.failures == []
    assert stream.unscored == 0


def reference_pid(node: LocalNode, ask: Callable[..., Any]) -> int:
    return int(ask(node, "status")["data_types"]["wine"]["slots"]["old"]["pid"])


def is_replaced(node: LocalNode, ask: Callable[..., Any], pid: int) -> bool:
    return reference_pid(node, ask) != pid


def goes_on(stream: Any, seen: int) -> bool:
    return bool(stream.answered > seen + RATE)
