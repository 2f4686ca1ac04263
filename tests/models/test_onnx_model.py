"""A model on ONNX Runtime answers each record, and a bad one fails alone."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from repertory.errors import FailureCode, ModelRejected
from repertory.models.loader import load_model, warm
from repertory.models.model import (
    Columns,
    Engine,
    InputFeature,
    InputTensor,
    ModelBroken,
    PreparedModel,
    Signature,
    Task,
)

GraphBuilder = Callable[..., bytes]

ONE = (InputTensor("x", "float32", (InputFeature("a"),)),)
VALUE = Signature(Task.REGRESSION, ONE, value_output="y")


def column(*values: float) -> Columns:
    return Columns(len(values), {"a": np.array(values)})


@pytest.fixture
def classifier(graph: GraphBuilder) -> PreparedModel:
    """Return a classifier whose probabilities are (1 - a, a)."""
    content = graph(
        [
            helper.make_node("Sub", ["one", "x"], ["rest"]),
            helper.make_node("Concat", ["rest", "x"], ["p"], axis=1),
        ],
        [("x", TensorProto.FLOAT, ["n", 1])],
        [("p", TensorProto.FLOAT, ["n", 2])],
        {"one": np.ones(1, np.float32)},
    )
    signature = Signature(
        Task.CLASSIFICATION, ONE, probabilities_output="p", classes=("bad", "good")
    )
    return PreparedModel(Engine.ONNX, content, signature)


@pytest.fixture
def picky(graph: GraphBuilder) -> PreparedModel:
    """Return a model that raises for a record of 13: it looks its value up in a table of ten."""
    content = graph(
        [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "i"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.FLOAT, ["n", 1])],
        {"table": np.arange(10, dtype=np.float32)},
    )
    return PreparedModel(Engine.ONNX, content, VALUE)


def test_each_record_gets_its_value(linear: PreparedModel, wine_columns: Columns) -> None:
    outcomes = load_model(linear).score(wine_columns)
    expected = np.sum(list(wine_columns.features.values()), axis=0) + 1
    assert outcomes.values is not None
    np.testing.assert_allclose(outcomes.values, expected, rtol=1e-12)
    assert not outcomes.failures


def test_an_empty_batch_gives_empty_outcomes(
    linear: PreparedModel, classifier: PreparedModel, wine_columns: Columns
) -> None:
    none = Columns(0, {name: np.empty(0) for name in wine_columns.features})
    assert load_model(linear).score(none).count == 0
    outcomes = load_model(classifier).score(column())
    assert outcomes.labels == ("bad", "good")
    assert outcomes.probabilities is not None
    assert outcomes.probabilities.shape == (0, 2)


def test_the_label_is_the_first_of_the_most_probable(classifier: PreparedModel) -> None:
    outcomes = load_model(classifier).score(column(0.25, 0.5, 0.75))
    assert outcomes.chosen is not None
    assert [outcomes.labels[i] for i in outcomes.chosen] == ["bad", "bad", "good"]
    assert outcomes.probabilities is not None
    assert outcomes.probabilities.tolist() == [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]


def test_bad_records_fail_alone(classifier: PreparedModel) -> None:
    outcomes = load_model(classifier).score(column(0.25, np.nan, np.inf, 1e300, 0.75))
    assert outcomes.count == 5
    assert {row: failed.code for row, failed in outcomes.failures.items()} == {
        1: FailureCode.MISSING_FEATURE,
        2: FailureCode.INVALID_FEATURE,
        3: FailureCode.INVALID_FEATURE,  # beyond float32, which the model takes
    }
    assert outcomes.chosen is not None
    assert outcomes.chosen.tolist() == [0, -1, -1, -1, 1]


def test_a_batch_of_only_bad_records_is_answered(classifier: PreparedModel) -> None:
    outcomes = load_model(classifier).score(column(np.nan, np.nan))
    assert sorted(outcomes.failures) == [0, 1]


def test_a_record_on_which_the_engine_fails_fails_alone(picky: PreparedModel) -> None:
    outcomes = load_model(picky).score(column(1, 13, 3))
    assert outcomes.values is not None
    assert outcomes.values[[0, 2]].tolist() == [1.0, 3.0]
    assert list(outcomes.failures) == [1]
    assert outcomes.failures[1].code is FailureCode.SCORING_FAILED
    assert "Gather" in outcomes.failures[1].message


def test_no_prediction_is_said(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("Log", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.FLOAT, ["n", 1])],
    )
    outcomes = load_model(PreparedModel(Engine.ONNX, content, VALUE)).score(column(1, -1, 0))
    assert outcomes.values is not None
    assert outcomes.values[0] == 0.0
    assert "no prediction" in outcomes.failures[1].message
    assert "infinite" in outcomes.failures[2].message


@pytest.mark.parametrize(
    ("classes", "expected"),
    [((), ["5", "7", "6"]), (("5", "6", "7"), ["5", "7", "6"]), (("5", "7"), ["5", "7", None])],
)
def test_integer_labels_are_printed(
    graph: GraphBuilder, classes: tuple[str, ...], expected: list[str | None]
) -> None:
    content = graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)],
        [("x", TensorProto.FLOAT, ["n", 1])],
        [("y", TensorProto.INT64, ["n", 1])],
    )
    signature = Signature(Task.CLASSIFICATION, ONE, label_output="y", classes=classes)
    outcomes = load_model(PreparedModel(Engine.ONNX, content, signature)).score(column(5, 7, 6))
    assert outcomes.chosen is not None
    labels = [outcomes.labels[i] if i >= 0 else None for i in outcomes.chosen]
    assert labels == expected
    assert set(outcomes.failures) == {i for i, label in enumerate(labels) if label is None}


def test_a_model_of_one_record_at_a_time_is_served_record_by_record(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 1])],
        [("y", TensorProto.FLOAT, [1, 1])],
    )
    outcomes = load_model(PreparedModel(Engine.ONNX, content, VALUE)).score(column(1, 2, 3))
    assert outcomes.values is not None
    assert outcomes.values.tolist() == [-1.0, -2.0, -3.0]


def test_a_closed_model_is_broken(linear: PreparedModel, wine_columns: Columns) -> None:
    model = load_model(linear)
    model.close()
    model.close()
    with pytest.raises(ModelBroken):
        model.score(wine_columns)


def test_bytes_that_are_no_model_are_refused(linear: PreparedModel) -> None:
    with pytest.raises(ModelRejected, match="ONNX Runtime refuses the model"):
        load_model(replace(linear, content=b"garbage"))


def test_warming_answers_whatever_the_model_says(
    linear: PreparedModel, picky: PreparedModel
) -> None:
    warm(load_model(linear))
    warm(load_model(picky))


def test_serving_onnx_imports_no_other_engine() -> None:
    code = (
        "import sys, repertory.models.loader, repertory.models.onnx_model, repertory.models.records;"
        "heavy = {'tensorflow', 'jpype', 'pypmml', 'onnx', 'sklearn', 'keras'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
