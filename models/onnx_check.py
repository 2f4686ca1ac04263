"""From a published ONNX model to one that may serve."""

from collections.abc import Mapping
from dataclasses import replace

import onnx

from repertory.errors import ModelRejected
from repertory.models.engine_model import EngineFailed
from repertory.models.model import Engine, InputTensor, PreparedModel, Schema
from repertory.models.onnx_graph import read_onnx
from repertory.models.onnx_inputs import match_inputs, with_batch
from repertory.models.onnx_model import TimedRuns
from repertory.models.onnx_outputs import append_arg_max, find_classes, strip_zip_maps
from repertory.models.outputs import Roles, difference, roles_of, signature_of
from repertory.models.trial import Trial, try_alone

# How long the probe records may take together; models of this kind need milliseconds.
SECONDS = 5.0

# Sums of float32 in another order; what differs by more depends on its neighbours in the batch.
_TOLERANCE = 1e-4


def prepare_onnx(content: bytes, schema: Schema) -> PreparedModel:
    """Check an ONNX model and find out what it takes and gives. Raises ModelRejected.

    Blocks while probe records are scored; one that does not end is refused after SECONDS.
    """
    return prepare_graph(read_onnx(content), schema)


def prepare_graph(
    model: onnx.ModelProto, schema: Schema, aliases: Mapping[str, str] | None = None
) -> PreparedModel:
    """Do the same for a graph that has been judged already; it is changed.

    `aliases` are the names by which inputs are matched, where their own do not tell.

    1. Match its inputs to the features, and take ZipMaps off.
    2. Score probe records one by one, and as one batch.
    3. Tell the label, the probabilities or the value from the answers.
    4. Where the batch was answered differently, let it take one record at a time.
    """
    tensors = match_inputs(model.graph, schema, aliases or {})
    zip_classes = strip_zip_maps(model.graph)
    names = [output.name for output in model.graph.output]
    runs = TimedRuns(with_batch(model, tensors, 1).SerializeToString(), SECONDS)
    trial = try_alone(runs.run, tensors, names)
    roles = roles_of(trial.outputs, trial.count)
    classes = _classes(model.graph, roles, zip_classes)
    signature = signature_of(tensors, roles, trial.outputs, classes)
    batch = "n" if _answers_together(model, tensors, trial) else 1
    if signature.label_output is None and roles.scores and not roles.are_probabilities:
        label = append_arg_max(model.graph, roles.scores)
        signature = replace(signature, label_output=label, label_is_index=True)
    content = with_batch(model, tensors, batch).SerializeToString()
    return PreparedModel(Engine.ONNX, content, signature)


def _answers_together(
    model: onnx.ModelProto, tensors: tuple[InputTensor, ...], trial: Trial
) -> bool:
    """Tell whether records are answered in a batch as they are alone."""
    content = with_batch(model, tensors, "n").SerializeToString()
    try:
        together = TimedRuns(content, SECONDS).run(trial.feed, list(trial.outputs))
    except (EngineFailed, ModelRejected):
        return False  # somewhere inside, the graph says that a batch is of one
    return difference(trial.outputs, together, _TOLERANCE) is None


def _classes(
    graph: onnx.GraphProto, roles: Roles, zip_classes: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    if roles.scores is None:
        return ()
    return (
        zip_classes.get(roles.scores)
        or find_classes(graph, roles.label or roles.scores, roles.classes)
        or find_classes(graph, roles.scores, roles.classes)
    )
