"""TensorFlow, as far as it is used: the one module that imports it.

Importing this module takes seconds and hundreds of megabytes: only child processes do.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from repertory.models.engine_model import EngineFailed
from repertory.models.inputs import Tensors
from repertory.models.text import first_line

GraphDef = graph_pb2.GraphDef
SavedModel = saved_model_pb2.SavedModel

# What ONNX Runtime has known for years, and tf2onnx converts everything to.
_OPSET = 17

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
tf.get_logger().setLevel(logging.CRITICAL)


class TensorFlowSession:
    """A frozen graph in a session of one thread. Used by one thread at a time."""

    def __init__(self, graph_def: Any) -> None:
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
        self._session = _session(graph)
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}

    def run(self, tensors: Tensors, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names`. Raises EngineFailed."""
        key = (tuple(tensors), tuple(names))
        try:
            if key not in self._callables:
                self._callables[key] = self._session.make_callable(list(names), list(tensors))
            outputs = self._callables[key](*tensors.values())
        except (tf.errors.OpError, ValueError, TypeError, KeyError) as error:
            raise EngineFailed(_reason(error)) from error
        return {name: _decoded(np.asarray(o)) for name, o in zip(names, outputs, strict=True)}


# What TensorFlow says after it has told where in its own source an operator was made.
_AFTER_NODE = re.compile(r"^Node: '.*'\n(.+)", re.MULTILINE)


def _reason(error: Exception) -> str:
    found = _AFTER_NODE.search(str(error))
    return found.group(1)[:300] if found else first_line(error)


def load_frozen(content: bytes) -> TensorFlowSession:
    """Return a session of a serialised frozen graph. Raises what TensorFlow raises."""
    graph_def = GraphDef()
    graph_def.ParseFromString(content)
    return TensorFlowSession(graph_def)


def _session(graph: Any) -> Any:
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, device_count={"GPU": 0}
    )
    return tf.compat.v1.Session(graph=graph, config=config)


def _decoded(array: NDArray[Any]) -> NDArray[Any]:
    """Return texts, which TensorFlow gives as bytes, as str."""
    if array.dtype.kind not in "OS":
        return array
    texts = [text.decode(errors="replace") for text in array.reshape(-1).tolist()]
    return np.array(texts, np.object_).reshape(array.shape)


def numpy_dtype(number: int) -> str:
    """Return numpy's name of a TensorFlow data type; `object` for strings. Raises TypeError."""
    dtype = tf.as_dtype(number)
    return "object" if dtype == tf.string else np.dtype(dtype.as_numpy_dtype).name


def to_onnx(
    graph_def: Any,
    *,
    inputs: Mapping[str, Sequence[int | None]],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Return a frozen graph as ONNX; `inputs` are tensors and their shapes.

    Raises whatever tf2onnx raises for what it does not know.
    """
    model: onnx.ModelProto
    model, _ = tf2onnx.convert.from_graph_def(
        graph_def,
        input_names=list(inputs),
        output_names=list(outputs),
        opset=_OPSET,
        shape_override={name: list(shape) for name, shape in inputs.items()},
    )
    return model


class Checkpoint:
    """The values of a SavedModel's variables. Reading them runs nothing of the model."""

    def __init__(self, prefix: Path) -> None:
        self._reader = tf.train.load_checkpoint(str(prefix))
        self._shapes = self._reader.get_variable_to_shape_map()
        self._keys_of_objects: dict[int, str] = {}
        if _OBJECT_GRAPH in self._shapes:
            objects = trackable_object_graph_pb2.TrackableObjectGraph()
            objects.ParseFromString(self._reader.get_tensor(_OBJECT_GRAPH))
            for number, node in enumerate(objects.nodes):
                for attribute in node.attributes:
                    if attribute.name == "VARIABLE_VALUE":
                        self._keys_of_objects[number] = attribute.checkpoint_key

    def of_object(self, number: int) -> NDArray[Any] | None:
        """Return the value of the object with that number in the SavedModel's object graph."""
        return self.of_name(self._keys_of_objects.get(number, ""))

    def of_name(self, key: str) -> NDArray[Any] | None:
        """Return the value under a key, None if there is none."""
        return self._reader.get_tensor(key) if key in self._shapes else None


def freeze(
    graph_def: Any,
    variables: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
) -> Any:
    """Return a graph with its variables, given by the name of their node, made constants.

    Runs the assignment of the variables and nothing else. Raises what TensorFlow raises.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
        session = _session(graph)
        for name, value in variables.items():
            node = graph.get_operation_by_name(name)
            source = tf.compat.v1.placeholder(value.dtype, value.shape)
            if node.type == "VarHandleOp":
                _add_read(graph, node, value)
                assign = tf.raw_ops.AssignVariableOp(resource=node.outputs[0], value=source)
            else:
                assign = tf.raw_ops.Assign(ref=node.outputs[0], value=source).op
            session.run(assign, {source: value})
        nodes = [name.partition(":")[0] for name in outputs]
        return tf.compat.v1.graph_util.convert_variables_to_constants(session, graph_def, nodes)


def _add_read(graph: Any, node: Any, value: NDArray[Any]) -> None:
    """Add the operator by which the conversion looks for the value of a variable."""
    name = f"{node.name}/Read/ReadVariableOp"
    if name not in {operation.name for operation in graph.get_operations()}:
        tf.raw_ops.ReadVariableOp(
            resource=node.outputs[0], dtype=tf.as_dtype(value.dtype), name=name
        )


def append_arg_max(graph_def: Any, scores: str) -> tuple[Any, str]:
    """Return a graph with the place of the largest of each record's scores, and that tensor."""
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
        found = tf.argmax(graph.get_tensor_by_name(scores), axis=1, name="arg_max")
    return graph.as_graph_def(), found.name
