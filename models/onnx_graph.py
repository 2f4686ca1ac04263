"""What an ONNX graph may hold, judged before ONNX Runtime sees it."""

from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import numpy_helper

from repertory.errors import ModelRejected

_STANDARD = {"", "ai.onnx", "ai.onnx.ml"}

# Of a Loop. No model of a record's few features needs more, and a turn takes a microsecond.
_MOST_TURNS = 1_000_000

Tensors = dict[str, NDArray[Any]]


def read_onnx(content: bytes) -> onnx.ModelProto:
    """Parse and judge a model. Raises ModelRejected.

    Refused by name: data outside the file, operators that are neither of ONNX and ONNX-ML nor
    functions of the model itself, loops whose number of turns is not fixed in the file, and what
    `onnx.checker` refuses.
    """
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelRejected(f"not an ONNX model, or a truncated one: {error}") from error
    if not model.graph.node:
        raise ModelRejected("the ONNX graph has no nodes")
    _refuse_external_data(model)
    functions = {(function.domain, function.name) for function in model.functions}
    for node, constants in _nodes(model):
        if node.domain not in _STANDARD and (node.domain, node.op_type) not in functions:
            raise ModelRejected(
                f"operator {node.domain}.{node.op_type} (node {node.name!r}) is not served: "
                "only operators of ONNX and ONNX-ML are"
            )
        if node.op_type == "Loop":
            _refuse_endless(node, constants)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelRejected(f"the ONNX model is not valid: {reason}") from error
    return model


def constants_of(graph: onnx.GraphProto) -> Tensors:
    """Return the tensors that a graph itself fixes, by name."""
    fixed = _constant_nodes(graph.node)
    fixed |= {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    overridable = {source.name for source in graph.input}
    return {name: value for name, value in fixed.items() if name not in overridable}


def _constant_nodes(nodes: Iterable[onnx.NodeProto]) -> Tensors:
    return {
        node.output[0]: numpy_helper.to_array(attribute.t)
        for node in nodes
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }


def _nodes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, Tensors]]:
    """Yield all nodes, wherever they lie, with the constants of the graph or function they are in.

    What an outer graph fixes is left out: an inner graph may give its name to something else.
    """
    yield from _nodes_of_graph(model.graph)
    for function in model.functions:
        yield from _with_inner(function.node, _constant_nodes(function.node))


def _nodes_of_graph(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, Tensors]]:
    yield from _with_inner(graph.node, constants_of(graph))


def _with_inner(
    nodes: Iterable[onnx.NodeProto], constants: Tensors
) -> Iterator[tuple[onnx.NodeProto, Tensors]]:
    for node in nodes:
        yield node, constants
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes_of_graph(graph)


def _refuse_external_data(message: Message) -> None:
    """Refuse a tensor, wherever in the model it lies, whose data is in another file."""
    if isinstance(message, onnx.TensorProto) and (
        message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
    ):
        where = next((e.value for e in message.external_data if e.key == "location"), "")
        raise ModelRejected(
            f"tensor {message.name!r} keeps its data in another file ({where!r}): "
            "save the model with all data inside"
        )
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                _refuse_external_data(part)


def _refuse_endless(node: onnx.NodeProto, constants: Tensors) -> None:
    turns = constants.get(node.input[0]) if node.input and node.input[0] else None
    if turns is None or turns.size != 1 or int(turns.reshape(())) > _MOST_TURNS:
        raise ModelRejected(
            f"Loop (node {node.name!r}) may never end: its number of turns must be a constant "
            f"of at most {_MOST_TURNS}"
        )
