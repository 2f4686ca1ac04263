"""What a model says beside its answer comes with the answer, and never in its place."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.green_room import GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Columns, Feature, Outcomes, PreparedModel, Schema
from repertory.models.names import is_confidence, public_name
from repertory.models.onnx_check import prepare_onnx
from repertory.models.onnx_model import OnnxModel
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

GraphBuilder = Callable[..., bytes]

ONE = Schema("one", (Feature("a"),))
X = [("x", TensorProto.FLOAT, ["n", 1])]


def column(*values: float) -> Columns:
    return Columns(len(values), {"a": np.array(values)})


def floats(name: str) -> tuple[str, int, list[Any]]:
    return (name, TensorProto.FLOAT, ["n", 1])


@pytest.fixture
def sure(graph: GraphBuilder) -> PreparedModel:
    """Return a regression: the logarithm of a; its confidence is 1 / (a - 2)."""
    nodes = [
        helper.make_node("Log", ["x"], ["y"]),
        helper.make_node("Sub", ["x", "two"], ["d"]),
        helper.make_node("Reciprocal", ["d"], ["confidence:0"]),
    ]
    outputs = [floats("y"), floats("confidence:0")]
    return prepare_onnx(graph(nodes, X, outputs, {"two": np.full(1, 2, np.float32)}), ONE)


@pytest.fixture
def picky(graph: GraphBuilder) -> PreparedModel:
    """Return a regression that raises for a record beyond a table of twenty; a confidence of a / 2."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "i"], ["y"]),
        helper.make_node("Mul", ["x", "half"], ["confidence"]),
    ]
    constants = {
        "table": np.arange(20, dtype=np.float32),
        "half": np.full(1, 0.5, np.float32),
    }
    return prepare_onnx(graph(nodes, X, [floats("y"), floats("confidence")], constants), ONE)


def logistic() -> bytes:
    """Return a logistic regression as scikit-learn's is exported, and its margin as a further output."""
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            coefficients=[1.0, -1.0],
            intercepts=[-1.5, 1.5],
            classlabels_strings=["high", "low"],
            post_transform="SOFTMAX",
        ),
        helper.make_node("ReduceMax", ["probabilities"], ["margin"], axes=[1], keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("margin", TensorProto.FLOAT, ["n"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(
        helper.make_graph(nodes, "logistic", inputs, outputs), opset_imports=opsets, ir_version=9
    )
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("confidence", True),
        ("Confidence:0", True),
        ("MODEL_CONFIDENCE", True),
        ("modelConfidence", True),
        ("head/confidence_2:1", True),
        ("overconfidence", False),
        ("confidence_interval", False),
        ("confident", False),
        ("probability", False),
    ],
)
def test_confidences_are_known_by_the_last_word_of_their_name(name: str, is_one: bool) -> None:
    assert is_confidence(name) == is_one


def test_users_need_not_write_the_number_of_the_first_tensor() -> None:
    assert [public_name(name) for name in ("a:0", "a:1", "a")] == ["a", "a:1", "a"]


def test_what_is_said_beside_a_value_is_called_by_its_public_name(sure: PreparedModel) -> None:
    assert sure.signature.extra_outputs == ("confidence:0",)
    assert sure.signature.extra_names() == ("confidence",)
    outcomes = load_model(sure).score(column(1, 4, 12))
    assert outcomes.extras["confidence"].dtype == np.float64
    np.testing.assert_allclose(outcomes.extras["confidence"], [-1, 0.5, 0.1], rtol=1e-6)
    assert outcomes.values is not None
    np.testing.assert_allclose(outcomes.values, np.log([1, 4, 12]), rtol=1e-6)


def test_it_is_nan_where_it_is_not_finite_and_where_a_record_failed(sure: PreparedModel) -> None:
    outcomes = load_model(sure).score(column(2, -1, np.nan, 4))
    assert sorted(outcomes.failures) == [1, 2]  # the record that only lacks a confidence is scored
    np.testing.assert_array_equal(outcomes.extras["confidence"], [np.nan, np.nan, np.nan, 0.5])


def test_an_empty_batch_has_the_same_extras(sure: PreparedModel) -> None:
    assert load_model(sure).score(column()).extras["confidence"].shape == (0,)


def test_records_that_are_scored_one_by_one_have_theirs(picky: PreparedModel) -> None:
    outcomes = load_model(picky).score(column(1, 99, 3))
    assert list(outcomes.failures) == [1]
    np.testing.assert_array_equal(outcomes.extras["confidence"], [0.5, np.nan, 1.5])


def test_an_extra_of_another_shape_than_is_due_fails_its_records(sure: PreparedModel) -> None:
    model = OnnxModel(replace(sure, content=sure.content))
    run = model.run
    model.run = lambda tensors, names: {  # type: ignore[method-assign]
        **run(tensors, names),
        "confidence:0": np.ones((1, 2)),
    }
    outcomes = model.score(column(4))
    assert "confidence:0 has shape [1, 2], where [1] is due" in outcomes.failures[0].message


def margins(outcomes: Outcomes) -> list[float]:
    assert outcomes.chosen is not None
    assert outcomes.probabilities is not None
    np.testing.assert_array_equal(outcomes.extras["margin"], outcomes.probabilities.max(axis=1))
    return [float(margin) for margin in outcomes.extras["margin"]]


def test_a_classifier_of_scikit_learn_may_give_a_margin_beside() -> None:
    prepared = prepare_onnx(logistic(), ONE)
    assert prepared.signature.probabilities_output == "probabilities"
    outcomes = load_model(prepared).score(column(0, 3))
    assert outcomes.chosen is not None
    assert [outcomes.labels[place] for place in outcomes.chosen] == ["low", "high"]
    assert all(0.5 < margin < 1 for margin in margins(outcomes))


def test_the_green_room_hands_extras_on() -> None:
    room = GreenRoom(Models(), {"one": ONE})
    try:
        descriptor = ModelDescriptor(
            dataType="one", modeltype=ModelDescriptor.ONNX, data=logistic()
        )
        prepared = room.prepare(descriptor.SerializeToString()).prepared
    finally:
        room.close()
    assert prepared.signature.extra_outputs == ("margin",)
    assert len(margins(load_model(prepared).score(column(0, 1, 2)))) == 3


def test_two_numbers_that_might_both_be_the_value_are_refused(graph: GraphBuilder) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["sure"])]
    with pytest.raises(ModelRejected, match=r"a float32\[24, 1\], sure float32\[24, 1\]; one of"):
        prepare_onnx(graph(nodes, X, [floats("a"), floats("sure")]), ONE)
