"""The Output of a model: fields that a later segment, or another output field, may read.

A field is compiled when it is read. What nobody reads is a report for the outside; it does not
change the model's answer, so it need not be understood.
"""

from typing import Final

import numpy as np

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.columns import (
    Column,
    DataType,
    Vocabulary,
    cast,
    data_type_of,
    number_of,
)
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.transformations import TAGS, expression, find_expression
from repertory.models.pmml.xml import Element, Shape

_FIELD: Final = Shape(
    attributes="name dataType feature value targetField",
    ignored="displayName optype isFinalResult",
    children=TAGS,
)
_FEATURES: Final = ("predictedValue", "probability", "transformedValue", "decision")


def declare_outputs(model: Element, answer: Answer, scope: Scope, into: Scope) -> None:
    """Make a model's output fields visible in the scope `into`.

    `scope` is the model's own, in which the fields' expressions are compiled.
    """
    output = model.find("Output")
    if output is None:
        return
    own = scope.inner()
    for field in output.find_all("OutputField"):
        name = field.require("name")
        own.declare(name, lambda field=field: _field(field, answer, own))  # type: ignore[misc]
        into.declare(name, lambda name=name, field=field: own.column(name, field))  # type: ignore[misc]


def _field(element: Element, answer: Answer, scope: Scope) -> Column:
    _FIELD.check(element)
    target = scope.target
    if target is not None and element.get("targetField", target.name or "") != (target.name or ""):
        raise NotCompiled(f"{element.where}: targetField={element.get('targetField')!r}")
    match element.choice("feature", _FEATURES, "predictedValue"):
        case "predictedValue":
            column = predicted(answer, scope)
        case "probability":
            column = _probability(element, answer, scope)
        case _:
            column = expression(find_expression(element), scope)
    data_type = data_type_of(element, column.data_type)
    return cast(scope.graph, column, data_type, element.where)


def predicted(answer: Answer, scope: Scope) -> Column:
    """Return the column of a model's prediction."""
    if answer.label is None:
        assert answer.value is not None
        return Column(answer.value, DataType.DOUBLE)
    target = scope.target
    if target is None or target.data_type is DataType.STRING:
        return Column(answer.label, DataType.STRING, Vocabulary(answer.classes))
    numbers = [number_of(label, target.data_type, "target") for label in answer.classes]
    return Column(scope.graph.look_up(numbers, answer.label), target.data_type)


def _probability(element: Element, answer: Answer, scope: Scope) -> Column:
    graph, target = scope.graph, scope.target
    if answer.probabilities is None or answer.label is None:
        raise NotCompiled(f"{element.where}: its model gives no probabilities")
    if "value" in element.attributes:
        index = _class_index(element, answer, target)
        return Column(graph.column(answer.probabilities, index), DataType.DOUBLE)
    places = graph.row([float(place) for place in np.arange(len(answer.classes))])
    mask = graph.op("Equal", answer.label, places)
    own = graph.row_sum(graph.where(mask, answer.probabilities, graph.number(0.0)))
    return Column(graph.unless(graph.is_missing(answer.label), own), DataType.DOUBLE)


def _class_index(element: Element, answer: Answer, target: TargetField | None) -> int:
    value = element.require("value")
    if target is not None and target.classes == answer.classes:
        return target.index(value, element)
    if value not in answer.classes:
        raise NotCompiled(f"{element.where}: value={value!r} is not a class of its model")
    return answer.classes.index(value)
