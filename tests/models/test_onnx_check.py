"""What an ONNX model takes and gives is found out from its graph and its answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from repertory.errors import ModelRejected
from repertory.models.loader import load_model
from repertory.models.model import Columns, Feature, FeatureKind, Outcomes, PreparedModel, Schema
from repertory.models.onnx_check import prepare_onnx
from repertory.models.onnx_model import OnnxModel

GraphBuilder = Callable[..., bytes]

TWO = Schema("two", (Feature("first_one"), Feature("second")))
X = [("x", TensorProto.FLOAT, ["n", 2])]
RECORDS = Columns(3, {"first_one": np.array([1.0, 2.0, 3.0]), "second": np.array([5.0, 1.0, 0.0])})


def score(prepared: PreparedModel, columns: Columns = RECORDS) -> Outcomes:
    return load_model(prepared).score(columns)


def labels(outcomes: Outcomes) -> list[str]:
    assert outcomes.chosen is not None
    return [outcomes.labels[i] for i in outcomes.chosen]


def values(prepared: PreparedModel) -> list[float]:
    outcomes = score(prepared)
    assert outcomes.values is not None
    return list(outcomes.values)


def classifier(graph: GraphBuilder, **attributes: Any) -> bytes:
    """Return a LinearClassifier of two classes that ends in a ZipMap, as skl2onnx writes it."""
    linear = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "raw"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 0.0, 0.0, 1.0],
        intercepts=[0.0, 0.0],
        post_transform="SOFTMAX",
        **attributes,
    )
    kept = {name.replace("_ints", "_int64s"): value for name, value in attributes.items()}
    zip_map = helper.make_node("ZipMap", ["raw"], ["zipped"], domain="ai.onnx.ml", **kept)
    label = TensorProto.INT64 if "classlabels_ints" in attributes else TensorProto.STRING
    outputs = [("label", label, ["n"]), ("zipped", TensorProto.FLOAT, ["n", 2])]
    return graph([linear, zip_map], X, outputs)


def test_inputs_are_matched_by_name_however_they_are_ordered(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("Sub", ["Second", "firstOne"], ["y"])],
        [("Second", TensorProto.DOUBLE, ["n", 1]), ("firstOne", TensorProto.DOUBLE, ["n", 1])],
        [("y", TensorProto.DOUBLE, ["n", 1])],
    )
    assert values(prepare_onnx(content, TWO)) == [4.0, -1.0, -3.0]


def test_one_input_takes_the_features_in_the_schema_s_order(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        X,
        [("y", TensorProto.FLOAT, ["n", 1])],
        {"w": np.array([[10.0], [1.0]], np.float32)},
    )
    assert values(prepare_onnx(content, TWO)) == [15.0, 21.0, 30.0]


@pytest.mark.parametrize(("dtype", "shape"), [("INT64", ["n"]), ("INT32", ["n", 1])])
def test_integer_inputs_of_any_rank_are_fed(
    graph: GraphBuilder, dtype: str, shape: list[object]
) -> None:
    element = getattr(TensorProto, dtype)
    content = graph(
        [helper.make_node("Cast", ["second"], ["y"], to=TensorProto.FLOAT)],
        [("second", element, shape)],
        [("y", TensorProto.FLOAT, shape)],
    )
    assert values(prepare_onnx(content, TWO)) == [5.0, 1.0, 0.0]


def test_text_is_fed_as_text(graph: GraphBuilder) -> None:
    schema = Schema("texts", (Feature("colour", FeatureKind.TEXT),))
    node = helper.make_node(
        "LabelEncoder",
        ["colour"],
        ["y"],
        domain="ai.onnx.ml",
        keys_strings=["red", "white"],
        values_floats=[1.0, 2.0],
        default_float=-1.0,
    )
    content = graph(
        [node], [("colour", TensorProto.STRING, ["n", 1])], [("y", TensorProto.FLOAT, ["n", 1])]
    )
    column = np.array(["white", "red", "blue"], np.object_)
    outcomes = score(prepare_onnx(content, schema), Columns(3, {"colour": column}))
    assert outcomes.values is not None
    assert outcomes.values.tolist() == [2.0, 1.0, -1.0]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([("x", TensorProto.FLOAT, ["n", 3])], "takes 3 features, but two has 2"),
        ([("x", TensorProto.FLOAT, ["n", 2, 1])], "has 3 dimensions"),
        ([("x", TensorProto.STRING, ["n", 2])], "takes text, but first_one is a number"),
        ([("x", TensorProto.COMPLEX64, ["n", 2])], "is of COMPLEX64"),
        (
            [("third", TensorProto.FLOAT, ["n", 1]), ("second", TensorProto.FLOAT, ["n", 1])],
            "input 'third' is not a feature of two, which has first_one, second",
        ),
        (
            [("second", TensorProto.FLOAT, ["n", 1]), ("SECOND", TensorProto.FLOAT, ["n", 1])],
            "two inputs of the model are called 'second'",
        ),
        (
            [("second", TensorProto.FLOAT, ["n", 2]), ("firstOne", TensorProto.FLOAT, ["n", 1])],
            "one feature has",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    graph: GraphBuilder, inputs: list[tuple[str, int, list[object]]], reason: str
) -> None:
    nodes = [helper.make_node("Identity", [name], [f"y_{name}"]) for name, *_ in inputs]
    outputs = [(f"y_{name}", kind, shape) for name, kind, shape in inputs]
    with pytest.raises(ModelRejected, match=reason):
        prepare_onnx(graph(nodes, inputs, outputs), TWO)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"classlabels_ints": [5, 7]}, ["7", "5", "5"]),
        ({"classlabels_strings": ["bad", "good"]}, ["good", "bad", "bad"]),
    ],
)
def test_a_zip_map_is_taken_off_and_its_classes_kept(
    graph: GraphBuilder, attributes: dict[str, Any], expected: list[str]
) -> None:
    prepared = prepare_onnx(classifier(graph, **attributes), TWO)
    assert b"ZipMap" not in prepared.content
    outcomes = score(prepared)
    assert labels(outcomes) == expected
    assert outcomes.probabilities is not None
    np.testing.assert_allclose(outcomes.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_probabilities_without_labels_are_classes_by_number(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("Softmax", ["x"], ["y"], axis=1)], X, [("y", TensorProto.FLOAT, ["n", 2])]
    )
    outcomes = score(prepare_onnx(content, TWO))
    assert labels(outcomes) == ["1", "0", "0"]
    assert outcomes.probabilities is not None


def test_scores_that_are_no_probabilities_give_the_label_alone(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("Neg", ["x"], ["y"])], X, [("y", TensorProto.FLOAT, ["n", 2])]
    )
    outcomes = score(prepare_onnx(content, TWO))
    assert labels(outcomes) == ["0", "1", "1"]
    assert outcomes.probabilities is None


def test_labels_from_a_table_are_tied_to_the_probabilities(graph: GraphBuilder) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=1),
        helper.make_node("ArgMax", ["p"], ["i"], axis=1, keepdims=0),
        helper.make_node("Gather", ["table", "i"], ["label"]),
    ]
    outputs = [("label", TensorProto.INT64, ["n"]), ("p", TensorProto.FLOAT, ["n", 2])]
    content = graph(nodes, X, outputs, {"table": np.array([30, 10])})
    outcomes = score(prepare_onnx(content, TWO))
    assert outcomes.labels == ("30", "10")
    assert labels(outcomes) == ["10", "30", "30"]


def test_probabilities_whose_classes_are_unknown_are_left_out(graph: GraphBuilder) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=1),
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["label"], to=TensorProto.INT64),
    ]
    outputs = [("label", TensorProto.INT64, ["n"]), ("p", TensorProto.FLOAT, ["n", 2])]
    outcomes = score(prepare_onnx(graph(nodes, X, outputs, {"axis": np.array([1])}), TWO))
    assert labels(outcomes) == ["6", "3", "3"]
    assert outcomes.probabilities is None


def test_outputs_that_are_not_understood_are_named(graph: GraphBuilder) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["b"])]
    outputs = [("a", TensorProto.FLOAT, ["n", 2]), ("b", TensorProto.FLOAT, ["n", 2])]
    with pytest.raises(ModelRejected, match=r"outputs are not understood: a float32\[24, 2\], b"):
        prepare_onnx(graph(nodes, X, outputs), TWO)


def test_a_batch_of_one_is_freed_where_the_graph_allows_it(graph: GraphBuilder) -> None:
    content = graph(
        [helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)],
        [("x", TensorProto.FLOAT, [1, 2])],
        [("y", TensorProto.FLOAT, [1, 1])],
        {"axis": np.array([1])},
    )
    prepared = prepare_onnx(content, TWO)
    assert not OnnxModel(prepared).row_by_row
    assert values(prepared) == [6.0, 3.0, 3.0]


def test_records_that_would_mix_in_a_batch_are_scored_one_by_one(graph: GraphBuilder) -> None:
    content = graph(
        [
            helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
            helper.make_node("ReduceMean", ["s"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Add", ["s", "m"], ["y"]),
        ],
        X,
        [("y", TensorProto.FLOAT, ["n", 1])],
        {"axis": np.array([1])},
    )
    prepared = prepare_onnx(content, TWO)
    assert OnnxModel(prepared).row_by_row
    assert values(prepared) == [12.0, 6.0, 6.0]


@pytest.mark.parametrize("content", [b"garbage", b"", b"\x08\x09"])
def test_bytes_that_are_no_onnx_are_refused(content: bytes) -> None:
    with pytest.raises(ModelRejected):
        prepare_onnx(content, TWO)


def test_a_truncated_model_is_refused(linear_onnx: bytes, wine: Schema) -> None:
    for length in range(1, len(linear_onnx), 10):
        with pytest.raises(ModelRejected):
            prepare_onnx(linear_onnx[:length], wine)
