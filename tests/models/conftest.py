"""What the tests of models share: the wine schema, records, and small ONNX graphs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repertory.config import DataType
from repertory.models.model import (
    Columns,
    Engine,
    InputFeature,
    InputTensor,
    PreparedModel,
    Schema,
    Signature,
    Task,
)
from repertory.models.schema import schema_of

WINE = DataType(
    message="repertory.protos.winerecord_pb2:WineRecord",
    features=(
        "fixed_acidity",
        "volatile_acidity",
        "citric_acid",
        "residual_sugar",
        "chlorides",
        "free_sulfur_dioxide",
        "total_sulfur_dioxide",
        "density",
        "pH",
        "sulphates",
        "alcohol",
    ),
)

GraphBuilder = Callable[..., bytes]


@pytest.fixture(scope="session")
def wine() -> Schema:
    """Return the schema of the example's wines."""
    return schema_of("wine", WINE)


@pytest.fixture(scope="session")
def wine_columns(wine: Schema) -> Columns:
    """Return eight plausible wines."""
    rng = np.random.default_rng(7)
    return Columns(8, {feature.name: rng.uniform(0.1, 20, 8) for feature in wine.features})


def build_graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[tuple[str, int, Sequence[Any]]],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    *,
    opsets: Sequence[tuple[str, int]] = (("", 17), ("ai.onnx.ml", 3)),
) -> bytes:
    """Return a serialised ONNX model."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets])
    model.ir_version = 9
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def graph() -> GraphBuilder:
    """Return `build_graph`."""
    return build_graph


@pytest.fixture(scope="session")
def linear_onnx() -> bytes:
    """Return a regression: the sum of the eleven features, plus one."""
    return build_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        [("x", TensorProto.DOUBLE, ["n", 11])],
        [("y", TensorProto.DOUBLE, ["n", 1])],
        {"w": np.ones((11, 1)), "b": np.ones(1)},
    )


@pytest.fixture(scope="session")
def linear(wine: Schema, linear_onnx: bytes) -> PreparedModel:
    """Return that regression, prepared."""
    features = tuple(InputFeature(feature.name) for feature in wine.features)
    signature = Signature(
        Task.REGRESSION, (InputTensor("x", "float64", features),), value_output="y"
    )
    return PreparedModel(Engine.ONNX, linear_onnx, signature)
