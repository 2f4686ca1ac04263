"""From a published TensorFlow model to one that may serve."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from repertory.config import MEBIBYTE, Models
from repertory.errors import ModelRejected
from repertory.models.agreement import disagreement
from repertory.models.archive import copy_folder, unpack
from repertory.models.descriptor import Published, folder_digest
from repertory.models.engine_model import EngineModel
from repertory.models.inputs import Tensors
from repertory.models.loader import load_model
from repertory.models.model import Engine, InputTensor, PreparedModel, Schema
from repertory.models.onnx_check import prepare_graph
from repertory.models.onnx_graph import read_onnx
from repertory.models.onnx_inputs import match_tensors
from repertory.models.onnx_outputs import name_outputs
from repertory.models.outputs import Roles, roles_of, signature_of
from repertory.models.probes import probe_columns
from repertory.models.saved_model import freeze_saved_model
from repertory.models.tensorflow_engine import (
    GraphDef,
    TensorFlowSession,
    append_arg_max,
    load_frozen,
    numpy_dtype,
    to_onnx,
)
from repertory.models.tensorflow_graph import Graph, cut, ends, judge, placeholders
from repertory.models.trial import Trial, try_alone


def prepare_frozen_graph(content: bytes, schema: Schema) -> PreparedModel:
    """Check a frozen graph and compile it. Raises ModelRejected.

    Its outputs are the tensors that nothing else in it takes.
    """
    graph = GraphDef()
    try:
        graph.ParseFromString(content)
    except DecodeError as error:
        raise ModelRejected(f"not a GraphDef, or a truncated one: {error}") from error
    judge(graph)
    outputs = ends(graph)
    if not outputs:
        raise ModelRejected("the graph computes nothing from a placeholder")
    return _prepare(cut(graph, outputs), dict(zip(outputs, outputs, strict=True)), schema, {})


def prepare_saved_model(
    published: Published, schema: Schema, *, limits: Models, scratch: Path
) -> PreparedModel:
    """Check a SavedModel, packed or a folder, and compile its signature. Raises ModelRejected."""
    folder = scratch / "saved_model"
    folder.mkdir()
    most_bytes = limits.max_mb * MEBIBYTE
    if published.folder is not None:
        copy_folder(published.folder, folder, most_bytes=most_bytes)
        if folder_digest(folder) != published.sha256:
            raise ModelRejected("the folder at the location changed while it was read")
    else:
        unpack(published.content, folder, most_bytes=most_bytes)
    frozen = freeze_saved_model(folder)
    return _prepare(frozen.graph, frozen.outputs, schema, frozen.aliases)


def _prepare(
    graph: Graph, outputs: Mapping[str, str], schema: Schema, aliases: Mapping[str, str]
) -> PreparedModel:
    """Compile a judged graph to ONNX where that answers as TensorFlow does; else keep TensorFlow.

    `outputs` are copies of tensors, by name, and the tensors.

    1. Match its placeholders to the features, and score probe records with TensorFlow.
    2. Compile it, and compare the answers to the probe records.
    """
    inputs = [(name, _dtype(name, number), shape) for name, number, shape in placeholders(graph)]
    tensors = match_tensors(inputs, schema, aliases)
    trial = try_alone(TensorFlowSession(graph).run, tensors, list(outputs))
    own = _on_tensorflow(graph, tensors, trial)
    compiled = _compiled(graph, tensors, outputs, schema, aliases)
    if compiled is None:
        return own
    probes = probe_columns(own.signature)
    expected = _LocalTensorFlow(own).score(probes)
    return compiled if disagreement(expected, load_model(compiled).score(probes)) is None else own


def _dtype(name: str, number: int) -> str:
    try:
        return numpy_dtype(number)
    except TypeError:
        raise ModelRejected(f"input {name!r} is of a type that records cannot give") from None


def _on_tensorflow(graph: Graph, tensors: tuple[InputTensor, ...], trial: Trial) -> PreparedModel:
    """Return the model as TensorFlow itself would serve it."""
    roles = roles_of(trial.outputs, trial.count)
    signature = signature_of(tensors, roles, trial.outputs, _classes(roles, trial))
    if signature.label_output is None and roles.scores and not roles.are_probabilities:
        graph, label = append_arg_max(graph, roles.scores)
        signature = replace(signature, label_output=label, label_is_index=True)
    return PreparedModel(Engine.TENSORFLOW, graph.SerializeToString(), signature)


def _classes(roles: Roles, trial: Trial) -> tuple[str, ...]:
    """Return the numbers of the classes, if the label is the place of the largest score."""
    if roles.label is None or roles.scores is None:
        return ()
    largest = trial.outputs[roles.scores].argmax(axis=1)
    labels = trial.outputs[roles.label].reshape(-1)
    is_place = labels.dtype.kind in "iu" and (labels == largest).all()
    return tuple(map(str, range(roles.classes))) if is_place else ()


def _compiled(
    graph: Graph,
    tensors: tuple[InputTensor, ...],
    outputs: Mapping[str, str],
    schema: Schema,
    aliases: Mapping[str, str],
) -> PreparedModel | None:
    """Return the model as ONNX, or None when it cannot be made one that may serve.

    Its outputs are copied once it is ONNX: tf2onnx cannot look into functions behind copies.
    """
    shapes = {tensor.name: [None, len(tensor.features)][: tensor.rank] for tensor in tensors}
    try:
        model = to_onnx(graph, inputs=shapes, outputs=list(dict.fromkeys(outputs.values())))
        name_outputs(model.graph, outputs)
        return prepare_graph(read_onnx(model.SerializeToString()), schema, aliases)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  tf2onnx raises what it likes; TensorFlow itself is still there
        return None


class _LocalTensorFlow(EngineModel):
    """A model on TensorFlow in this process, to compare with."""

    def __init__(self, prepared: PreparedModel) -> None:
        super().__init__(prepared.signature)
        self._session = load_frozen(prepared.content)

    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names`."""
        return self._session.run(tensors, names)

    def close(self) -> None:
        """Nothing is held."""
