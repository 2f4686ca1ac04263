"""From PMML to ONNX."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from onnx import TensorProto

from repertory.errors import ModelRejected
from repertory.models.model import (
    Engine,
    InputTensor,
    OnInvalid,
    PreparedModel,
    Schema,
    Signature,
    Task,
)
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.dictionary import Dictionary
from repertory.models.pmml.document import find_model
from repertory.models.pmml.graph import INPUT
from repertory.models.pmml.inputs import InputField, input_fields
from repertory.models.pmml.mining_schema import read_mining_schema
from repertory.models.pmml.models import compile_model
from repertory.models.pmml.scope import Context, Scope
from repertory.models.pmml.transformations import declare_derived
from repertory.models.pmml.xml import Element, Shape, parse

_TRANSFORMATIONS: Final = Shape(children="DerivedField DefineFunction")


def compile_pmml(content: bytes, schema: Schema) -> PreparedModel:
    """Compile a PMML document to an ONNX graph in float64 that takes the schema's features.

    Raises ModelRejected for what is no PMML, names no model that can be scored, or does not fit
    the schema; and NotCompiled for what is valid but unknown to the compiler. Pure; it neither
    reads nor fetches anything.
    """
    try:
        with _collector_paused():
            return _compile(parse(content), schema)
    except RecursionError:
        raise ModelRejected(
            "its expressions are nested, or its fields derived from each other, too deeply"
        ) from None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the collector of cyclic garbage, of which there is none, from walking over a million
    elements again and again: half the time of a large forest.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compile(root: Element, schema: Schema) -> PreparedModel:
    model = find_model(root)
    dictionary = Dictionary(root)
    inputs = input_fields(root, dictionary, read_mining_schema(model), schema)
    graph = Arithmetic(len(inputs))
    context = Context(graph, dictionary, unchecked=_unchecked(inputs))
    scope = Scope(context)
    for index, field in enumerate(inputs):
        scope.declare(
            field.data.name,
            lambda field=field, index=index: field.column(index, scope),  # type: ignore[misc]
        )
    transformations = root.find("TransformationDictionary")
    if transformations is not None:
        _TRANSFORMATIONS.check(transformations)
        for function in transformations.find_all("DefineFunction"):
            context.functions[function.require("name")] = function
        for derived in transformations.find_all("DerivedField"):
            declare_derived(derived, scope)
    answer, _ = compile_model(model, scope)
    return _prepared(answer, graph, inputs)


def _unchecked(inputs: list[InputField]) -> frozenset[str]:
    return frozenset(
        field.data.name for field in inputs if field.mining.on_invalid is OnInvalid.AS_IS
    )


def _prepared(answer: Answer, graph: Arithmetic, inputs: list[InputField]) -> PreparedModel:
    tensor = InputTensor(INPUT, "float64", tuple(field.encoding() for field in inputs))
    if answer.value is not None:
        content = graph.model({"value": (graph.rows(answer.value), TensorProto.DOUBLE, 1)})
        signature = Signature(Task.REGRESSION, (tensor,), value_output="value")
        return PreparedModel(Engine.ONNX, content, signature)
    assert answer.label is not None
    outputs = {"label": (_label(answer.label, graph), TensorProto.INT64, 1)}
    if answer.probabilities is not None:
        probabilities = graph.rows(answer.probabilities)
        outputs["probabilities"] = (probabilities, TensorProto.DOUBLE, len(answer.classes))
    signature = Signature(
        Task.CLASSIFICATION,
        (tensor,),
        label_output="label",
        label_is_index=True,
        probabilities_output="probabilities" if answer.probabilities is not None else None,
        classes=answer.classes,
    )
    return PreparedModel(Engine.ONNX, graph.model(outputs), signature)


def _label(label: str, graph: Arithmetic) -> str:
    """Return a label as an integer, -1 for none."""
    known = graph.where(graph.is_missing(label), graph.number(-1.0), label)
    return graph.op("Cast", graph.rows(known), to=TensorProto.INT64)
