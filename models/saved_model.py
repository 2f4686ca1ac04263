"""SavedModels: which part of one serves, cut out and frozen without loading the whole.

TensorFlow's own loader runs what a SavedModel asks it to run. Here nothing of it is run but the
operators, judged before, that a signature's outputs are computed from.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from repertory.errors import ModelRejected
from repertory.models.tensorflow_engine import Checkpoint, SavedModel, freeze
from repertory.models.tensorflow_graph import (
    ALLOWED_UNFROZEN,
    VARIABLES,
    Graph,
    cut,
    judge,
    node_of,
)
from repertory.models.text import first_line

# What TensorFlow allows.
_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")

_FILE = "saved_model.pb"
_SERVE = "serve"
_DEFAULT = "serving_default"
_INIT_OP = "__saved_model_init_op"
_MAIN_OPS = ("saved_model_main_op", "legacy_init_op")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A signature of a SavedModel as a frozen graph."""

    graph: Graph
    outputs: Mapping[str, str]  # tensors with the signature's names, and those that they copy
    aliases: Mapping[str, str]  # input tensors by the names that the signature gives them


def freeze_saved_model(folder: Path) -> Frozen:
    """Return the serving signature of the SavedModel in a folder. Raises ModelRejected.

    1. Find the graph tagged `serve` and its signature, `serving_default` or the only one.
    2. Refuse what would be run at loading (a main_op or init_op) and files beside it (assets).
    3. Cut out what the outputs are computed from, and judge its operators.
    4. Read the values of the variables in it from the checkpoint, and freeze them.
    """
    root = _root(folder)
    meta = _meta_graph(root / _FILE)
    signature = _signature(meta)
    _refuse_actions(meta)
    outputs = [tensor.name for _, tensor in sorted(signature.outputs.items())]
    if not all(outputs):
        raise ModelRejected("the signature has an output that is not a plain tensor")
    graph = cut(meta.graph_def, outputs)
    judge(graph, ALLOWED_UNFROZEN)
    values = _values(graph, meta, root) if _variables(graph) else {}
    for node in _variables(graph):
        node.attr["shared_name"].s = node.name.encode()  # two of one name must not become one
    try:
        frozen = cut(freeze(graph, values, outputs), outputs)
    except Exception as error:  # TensorFlow raises nearly every class there is
        raise ModelRejected(f"the SavedModel cannot be frozen: {first_line(error)}") from error
    named = {
        _name_output(frozen, key, tensor): str(tensor.name)
        for key, tensor in sorted(signature.outputs.items())
    }
    judge(frozen)
    aliases = {tensor.name: key for key, tensor in signature.inputs.items()}
    return Frozen(frozen, named, aliases)


def _name_output(graph: Graph, key: str, tensor: Any) -> str:
    """Add to a graph a tensor of the name that the signature gives an output, and return it.

    TensorFlow calls all outputs of a function alike (`StatefulPartitionedCall:1`), which tells users
    nothing. The tensor itself is returned where the name is taken, or cannot be that of a node.
    """
    if not _NODE_NAME.fullmatch(key) or any(node.name == key for node in graph.node):
        return str(tensor.name)
    node = graph.node.add(name=key, op="Identity", input=[tensor.name])
    node.attr["T"].type = tensor.dtype
    return f"{key}:0"


def _root(folder: Path) -> Path:
    """Return the folder that holds saved_model.pb: this one, or the only one below it."""
    found = sorted(path.parent for path in folder.rglob(_FILE))
    if not found:
        raise ModelRejected(f"there is no {_FILE}: this is not a SavedModel")
    if len(found) > 1:
        raise ModelRejected(f"there are {len(found)} SavedModels where one is due")
    return found[0]


def _meta_graph(path: Path) -> Any:
    model = SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelRejected(f"{_FILE} is garbage or truncated: {error}") from error
    for meta in model.meta_graphs:
        if _SERVE in meta.meta_info_def.tags:
            return meta
    tags = [list(meta.meta_info_def.tags) for meta in model.meta_graphs]
    raise ModelRejected(f"the SavedModel has no graph tagged {_SERVE!r}; it has {tags}")


def _signature(meta: Any) -> Any:
    signatures = {k: v for k, v in meta.signature_def.items() if k != _INIT_OP and v.outputs}
    if _DEFAULT in signatures:
        return signatures[_DEFAULT]
    if len(signatures) != 1:
        names = ", ".join(sorted(signatures)) or "none"
        raise ModelRejected(f"the SavedModel has no signature {_DEFAULT!r}; it has {names}")
    return next(iter(signatures.values()))


def _refuse_actions(meta: Any) -> None:
    """Refuse a SavedModel that does anything at loading but restore its variables."""
    nodes = {node.name: node for node in meta.graph_def.node}
    for name in _run_at_loading(meta):
        waiting, seen = [node_of(name)], set()
        while waiting:
            node = nodes.get(waiting.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            if node.op != "NoOp":
                raise ModelRejected(
                    f"the SavedModel runs {node.op} (node {node.name!r}) when it is loaded "
                    "(main_op): that is refused"
                )
            waiting.extend(map(node_of, node.input))
    if meta.asset_file_def:
        files = ", ".join(asset.filename for asset in meta.asset_file_def)
        raise ModelRejected(f"the SavedModel reads files when it is loaded (assets: {files})")


def _run_at_loading(meta: Any) -> Iterator[str]:
    if _INIT_OP in meta.signature_def:
        yield from (tensor.name for tensor in meta.signature_def[_INIT_OP].outputs.values())
    for name in _MAIN_OPS:
        if name in meta.collection_def:
            yield from meta.collection_def[name].node_list.value


def _variables(graph: Graph) -> list[Any]:
    return [node for node in graph.node if node.op in VARIABLES]


def _values(graph: Graph, meta: Any, root: Path) -> dict[str, NDArray[Any]]:
    """Return the values of the variables in a graph, by the name of their node."""
    try:
        checkpoint = Checkpoint(root / "variables" / "variables")
        objects = _objects(graph, meta)
        values = {
            node.name: checkpoint.of_object(objects[node.name])
            if node.name in objects
            else checkpoint.of_name(node.attr["shared_name"].s.decode() or node.name)
            for node in _variables(graph)
        }
    except Exception as error:
        raise ModelRejected(f"the variables cannot be read: {first_line(error)}") from error
    for name, value in values.items():
        if value is None:
            raise ModelRejected(f"the checkpoint has no value for the variable {name!r}")
    return {name: np.asarray(value) for name, value in values.items()}


def _objects(graph: Graph, meta: Any) -> dict[str, int]:
    """Return the numbers that variables have in the object graph, by the name of their node.

    A signature is one call of a function: its own inputs, then what the function is bound to, which
    the object graph lists in the same order. Names alone would not do: two variables may share one.
    """
    functions = meta.object_graph_def.concrete_functions
    variables = {node.name for node in _variables(graph)}
    objects: dict[str, int] = {}
    for node in graph.node:
        if node.op in _CALLS and node.attr["f"].func.name in functions:
            bound = list(functions[node.attr["f"].func.name].bound_inputs)
            taken = [node_of(name) for name in node.input if not name.startswith("^")]
            pairs = zip(taken[len(taken) - len(bound) :], bound, strict=True)
            objects.update((name, number) for name, number in pairs if name in variables)
    return objects
