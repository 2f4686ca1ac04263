"""What an ONNX graph answers: a number, or a label, and of which classes."""

from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto, TensorProto, helper

from repertory.errors import ModelRejected
from repertory.models.onnx_graph import constants_of

# Operators that pass labels on as they are, in another type or shape.
_PASSING = {"Cast", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "ZipMap"}
_CLASS_ATTRIBUTES = {"classlabels_ints", "classlabels_int64s", "classlabels_strings"}


def strip_zip_maps(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """Take off the ZipMap nodes that classifiers end in; return the classes by tensor.

    A ZipMap makes a dictionary of each record's probabilities, which costs three to eight times
    what the model does; the tensor that it reads is the output instead.
    """
    classes: dict[str, tuple[str, ...]] = {}
    outputs = {output.name: output for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        if node.output[0] in outputs:
            classes[node.input[0]] = _classes_in(node) or ()
            output = outputs[node.output[0]]
            output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
            graph.node.remove(node)
    for output in graph.output:
        if not output.type.HasField("tensor_type"):
            raise ModelRejected(f"output {output.name!r} is not a tensor")
    return classes


def name_outputs(graph: onnx.GraphProto, tensors: Mapping[str, str]) -> None:
    """Let outputs have the names that are given to tensors, which are outputs now."""
    found = {output.name: output for output in graph.output}
    copies = [(name, tensor) for name, tensor in tensors.items() if name != tensor]
    outputs = [found[tensor] for name, tensor in tensors.items() if name == tensor]
    for name, tensor in copies:
        graph.node.append(helper.make_node("Identity", [tensor], [name]))
        copy = onnx.ValueInfoProto(name=name)
        copy.type.CopyFrom(found[tensor].type)
        outputs.append(copy)
    del graph.output[:]
    graph.output.extend(outputs)


def find_classes(graph: onnx.GraphProto, output: str, count: int) -> tuple[str, ...]:
    """Return the `count` classes that the graph itself ties to an output; empty if it ties none.

    They are looked for backwards from the output: the class labels of a classifier node, a table
    that the label is taken from, or the place of the largest of `count` numbers.
    """
    constants = constants_of(graph)
    for node in _backwards(graph, output):
        classes = _classes_in(node)
        if classes is None and node.op_type in ("ArrayFeatureExtractor", "Gather"):
            table = constants.get(node.input[0])
            if table is not None:
                classes = tuple(str(_text(value)) for value in table.reshape(-1).tolist())
        if classes is None and node.op_type == "ArgMax":
            classes = tuple(map(str, range(count)))
        if classes is not None:
            return classes if len(classes) == count else ()
    return ()


def append_arg_max(graph: onnx.GraphProto, scores: str) -> str:
    """Add an output: the place of the largest of each record's scores, the first of equals."""
    taken = {name for node in graph.node for name in node.output}
    name = next(f"arg_max_{i}" for i in range(len(taken) + 1) if f"arg_max_{i}" not in taken)
    graph.node.append(helper.make_node("ArgMax", [scores], [name], axis=1, keepdims=0))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
    return name


def _backwards(graph: onnx.GraphProto, output: str) -> Iterator[onnx.NodeProto]:
    """Yield the node that makes `output`, and those before it while they only pass it on."""
    makers = {name: node for node in graph.node for name in node.output}
    while (node := makers.get(output)) is not None:
        yield node
        if node.op_type not in _PASSING or not node.input:
            return
        output = node.input[0]


def _classes_in(node: onnx.NodeProto) -> tuple[str, ...] | None:
    for attribute in node.attribute:
        if attribute.name in _CLASS_ATTRIBUTES and (attribute.ints or attribute.strings):
            if attribute.type == AttributeProto.STRINGS:
                return tuple(text.decode() for text in attribute.strings)
            return tuple(map(str, attribute.ints))
    return None


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
