"""An ONNX graph under construction, in float64 throughout.

Every tensor has a row for each record, or a single row where it is the same for all of them: ONNX
broadcasts the latter. A node that is asked for twice with the same inputs is made once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INPUT: Final = "features"

# Opset 18 has every operator used here; ai.onnx.ml 5 brings TreeEnsemble, the first tree operator
# whose output is double (those of version 3 answer float32 whatever they compute in).
OPSETS: Final = {"": 18, "ai.onnx.ml": 5}
IR_VERSION: Final = 9


class Graph:
    """Builds a graph of one input, a double matrix of `width` features, NaN where missing."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._made: dict[Any, str] = {}
        self._single: set[str] = set()  # tensors of one row, the same for all records
        self._inputs: dict[str, int] = {}  # columns that are a feature as it came
        self._count = 0

    def feature(self, index: int) -> str:
        """Return the column [n, 1] of one feature."""
        name = self.op("Gather", INPUT, self.integers([index]), axis=1)
        self._inputs[name] = index
        return name

    def feature_index(self, tensor: str) -> int | None:
        """Return which feature a column is, None when it was computed."""
        return self._inputs.get(tensor)

    def constant(self, values: NDArray[Any]) -> str:
        """Return a constant tensor."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._made:
            name = self._name("c")
            self._initializers.append(numpy_helper.from_array(values, name))
            self._made[key] = name
            self._single.add(name)
        return self._made[key]

    def number(self, value: float) -> str:
        """Return a constant column [1, 1]."""
        return self.constant(np.array([[value]], np.float64))

    def row(self, values: Sequence[float]) -> str:
        """Return a constant row [1, k]."""
        return self.constant(np.array([values], np.float64))

    def integers(self, values: Sequence[int]) -> str:
        """Return a constant vector of int64."""
        return self.constant(np.array(values, np.int64))

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the first output of a node of the default domain."""
        key = (operator, inputs, tuple(sorted((k, str(v)) for k, v in attributes.items())))
        if key not in self._made:
            node = helper.make_node(operator, inputs, [self._name("t")], **attributes)
            self._made[key] = self.add(node)
            if all(name in self._single for name in inputs if name):
                self._single.add(self._made[key])
        return self._made[key]

    def add(self, node: onnx.NodeProto) -> str:
        """Add a node as it is, and return its first output."""
        self._nodes.append(node)
        return str(node.output[0])

    def fresh(self) -> str:
        """Return a name for the output of a node that is made elsewhere."""
        return self._name("t")

    def rows(self, tensor: str) -> str:
        """Return a tensor with a row for each record, even if all rows are the same."""
        if tensor not in self._single:
            return tensor
        count = self.op("Shape", INPUT, start=0, end=1)
        return self.op("Expand", tensor, self.op("Concat", count, self.integers([1]), axis=0))

    def concat(self, tensors: Sequence[str]) -> str:
        """Return tensors side by side."""
        if len(tensors) == 1:
            return self.rows(tensors[0])
        return self.op("Concat", *map(self.rows, tensors), axis=1)

    def matrix_of(self, columns: Sequence[str]) -> str:
        """Return columns as a matrix: the input itself where they are all its features, in order."""
        if [self.feature_index(column) for column in columns] == list(range(self.width)):
            return INPUT
        return self.concat(columns)

    def linear(self, matrix: str, weights: NDArray[np.float64], constants: Sequence[float]) -> str:
        """Return matrix @ weights + constants.

        As Gemm: ONNX Runtime folds constant factors around a MatMul into a float32 attribute of it.
        """
        return self.op("Gemm", self.rows(matrix), self.constant(weights), self.row(constants))

    def ascending(self, matrix: str, width: int) -> str:
        """Return each row of a matrix of that width in ascending order."""
        name = self.fresh()
        sizes = self.integers([width])
        node = helper.make_node("TopK", [matrix, sizes], [name, self.fresh()], axis=1, largest=0)
        return self.add(node)

    def column(self, matrix: str, index: int) -> str:
        """Return one column [n, 1] of a matrix."""
        return self.op("Gather", matrix, self.integers([index]), axis=1)

    def model(self, outputs: Mapping[str, tuple[str, int, int | None]]) -> bytes:
        """Return the model whose outputs are these tensors: name → (tensor, type, columns).

        `columns` is None for a vector.
        """
        nodes = self._needed([tensor for tensor, _, _ in outputs.values()])
        used = {name for node in nodes for name in node.input}
        used.update(tensor for tensor, _, _ in outputs.values())
        initializers = [tensor for tensor in self._initializers if tensor.name in used]
        described = []
        for name, (tensor, kind, columns) in outputs.items():
            nodes.append(helper.make_node("Identity", [tensor], [name]))
            shape: list[str | int | None] = ["n"] if columns is None else ["n", columns]
            described.append(helper.make_tensor_value_info(name, kind, shape))
        given = helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["n", self.width])
        graph = helper.make_graph(nodes, "pmml", [given], described, initializers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="repertory"
        )
        return bytes(model.SerializeToString())

    def _needed(self, outputs: Sequence[str]) -> list[onnx.NodeProto]:
        """Return the nodes that the outputs depend on, in order."""
        wanted = set(outputs)
        needed = []
        for node in reversed(self._nodes):
            if not wanted.isdisjoint(node.output):
                needed.append(node)
                wanted.update(node.input)
        return needed[::-1]

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"
