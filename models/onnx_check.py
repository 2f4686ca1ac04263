"""From a published ONNX model to one that may serve."""

from dataclasses import replace

import numpy as np
import onnx

from repertory.errors import ModelRejected
from repertory.models.engine_model import EngineFailed
from repertory.models.inputs import Inputs, Tensors
from repertory.models.model import Engine, InputTensor, PreparedModel, Schema, Signature, Task
from repertory.models.onnx_graph import read_onnx
from repertory.models.onnx_inputs import match_inputs, with_batch
from repertory.models.onnx_model import TimedRuns
from repertory.models.onnx_outputs import append_arg_max, find_classes, strip_zip_maps
from repertory.models.outputs import Outputs, Roles, difference, roles_of
from repertory.models.probes import PROBES, probe_columns

# How long the probe records may take together; models of this kind need milliseconds.
SECONDS = 5.0

# Sums of float32 in another order; what differs by more depends on its neighbours in the batch.
_TOLERANCE = 1e-4


def prepare_onnx(content: bytes, schema: Schema) -> PreparedModel:
    """Check an ONNX model and find out what it takes and gives. Raises ModelRejected.

    Blocks while probe records are scored; one that does not end is refused after SECONDS.
    """
    return prepare_graph(read_onnx(content), schema)


def prepare_graph(model: onnx.ModelProto, schema: Schema) -> PreparedModel:
    """Do the same for a graph that has been judged already; it is changed.

    1. Match its inputs to the features, and take ZipMaps off.
    2. Score probe records one by one, and as one batch.
    3. Tell the label, the probabilities or the value from the answers.
    4. Where the batch was answered differently, let it take one record at a time.
    """
    tensors = match_inputs(model.graph, schema)
    zip_classes = strip_zip_maps(model.graph)
    names = [output.name for output in model.graph.output]
    inputs = Signature(Task.REGRESSION, tensors)  # as far as it is known: it feeds the probes
    feed = Inputs(inputs).feed(probe_columns(inputs)).tensors
    rows, outputs = _answers_alone(with_batch(model, tensors, 1), feed, names)
    feed = {name: tensor[rows] for name, tensor in feed.items()}
    roles = roles_of(outputs, len(rows))
    signature = _signature(model.graph, tensors, roles, outputs, zip_classes)
    batch = "n" if _answers_together(model, tensors, feed, outputs) else 1
    content = with_batch(model, tensors, batch).SerializeToString()
    return PreparedModel(Engine.ONNX, content, signature)


def _answers_alone(
    model: onnx.ModelProto, feed: Tensors, names: list[str]
) -> tuple[list[int], Outputs]:
    """Return the records that the model answers when each comes alone, and the answers."""
    runs = TimedRuns(model.SerializeToString(), SECONDS)
    answers: dict[int, Outputs] = {}
    failure = ""
    for row in range(PROBES):
        try:
            one = {name: tensor[row : row + 1] for name, tensor in feed.items()}
            answers[row] = runs.run(one, names)
        except EngineFailed as error:
            failure = str(error)
    if len(answers) < 2:
        raise ModelRejected(f"the model answers none of {PROBES} probe records: {failure}")
    for name in names:
        shapes = {answer[name].shape for answer in answers.values()}
        if len(shapes) > 1 or next(iter(shapes))[:1] != (1,):
            raise ModelRejected(
                f"output {name!r} has shapes {shapes} for one record: [1, …] is due"
            )
    stacked = {name: np.concatenate([a[name] for a in answers.values()]) for name in names}
    return list(answers), stacked


def _answers_together(
    model: onnx.ModelProto, tensors: tuple[InputTensor, ...], feed: Tensors, alone: Outputs
) -> bool:
    """Tell whether records are answered in a batch as they are alone."""
    content = with_batch(model, tensors, "n").SerializeToString()
    try:
        together = TimedRuns(content, SECONDS).run(feed, list(alone))
    except (EngineFailed, ModelRejected):
        return False  # somewhere inside, the graph says that a batch is of one
    return difference(alone, together, _TOLERANCE) is None


def _signature(
    graph: onnx.GraphProto,
    tensors: tuple[InputTensor, ...],
    roles: Roles,
    outputs: Outputs,
    zip_classes: dict[str, tuple[str, ...]],
) -> Signature:
    if roles.value is not None:
        return Signature(Task.REGRESSION, tensors, value_output=roles.value)
    if roles.scores is None:
        return Signature(Task.CLASSIFICATION, tensors, label_output=roles.label)
    classes = (
        zip_classes.get(roles.scores)
        or find_classes(graph, roles.label or roles.scores, roles.classes)
        or find_classes(graph, roles.scores, roles.classes)
    )
    bare = Signature(Task.CLASSIFICATION, tensors, classes=classes)
    if roles.label is not None:
        return _labelled(bare, roles, outputs)
    bare = replace(bare, classes=classes or tuple(map(str, range(roles.classes))))
    if roles.are_probabilities:
        return replace(bare, probabilities_output=roles.scores)
    return replace(bare, label_output=append_arg_max(graph, roles.scores), label_is_index=True)


def _labelled(bare: Signature, roles: Roles, outputs: Outputs) -> Signature:
    """Return the signature of a model with a label; probabilities only if their classes are sure."""
    label = roles.label or ""
    seen = {str(value) for value in outputs[label].reshape(-1).tolist()}
    if len(bare.classes) != roles.classes or not seen <= set(bare.classes):
        return replace(bare, label_output=label, classes=())
    probabilities = roles.scores if roles.are_probabilities else None
    return replace(bare, label_output=label, probabilities_output=probabilities)
