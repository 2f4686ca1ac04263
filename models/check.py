"""From a published descriptor to a model that may serve, whatever its format.

Runs in the green room's child; nothing here is safe to call elsewhere, because models are run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.descriptor import Published, read_descriptor, refuse_too_large
from repertory.models.extras import require
from repertory.models.loader import load_model
from repertory.models.model import PreparedModel, Schema
from repertory.models.probes import refuse_silent
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor


@dataclass(frozen=True, slots=True)
class Checked:
    """What was published, and the model that serves it."""

    published: Published
    prepared: PreparedModel


def check(
    descriptor: Path, *, schemas: Mapping[str, Schema], limits: Models, scratch: Path
) -> Checked:
    """Check the descriptor in a file. Raises ModelRejected, and whatever a hostile model provokes.

    1. Read the descriptor, and refuse what does not make sense.
    2. Check the content in the way of its format, and compile it to ONNX if that is possible.
    3. Load it as a serving actor will, and score probe records.
    """
    refuse_too_large(descriptor.stat().st_size, limits)
    published = read_descriptor(descriptor.read_bytes(), limits)
    schema = schemas.get(published.data_type)
    if schema is None:
        known = ", ".join(sorted(schemas))
        raise ModelRejected(f"data type {published.data_type!r} is not declared; known: {known}")
    prepared = _prepared(published, schema, limits, scratch)
    model = load_model(prepared)
    try:
        refuse_silent(model)
    finally:
        model.close()
    return Checked(published, prepared)


def _prepared(published: Published, schema: Schema, limits: Models, scratch: Path) -> PreparedModel:
    if published.model_type == ModelDescriptor.ONNX:
        from repertory.models.onnx_check import prepare_onnx

        return prepare_onnx(published.content, schema)
    if published.model_type == ModelDescriptor.PMML:
        from repertory.models.pmml_check import prepare_pmml

        return prepare_pmml(published.content, schema)
    require("tensorflow", "tf2onnx", extra="tensorflow")
    from repertory.models.tensorflow_check import prepare_frozen_graph, prepare_saved_model

    if published.model_type == ModelDescriptor.TENSORFLOW:
        return prepare_frozen_graph(published.content, schema)
    return prepare_saved_model(published, schema, limits=limits, scratch=scratch)
