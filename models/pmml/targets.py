"""The Targets of a model: what is done to its prediction, and what stands in for a missing one."""

from typing import Final

import numpy as np

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape

_TARGETS: Final = Shape(children="Target")
_TARGET: Final = Shape(
    attributes="field optype castInteger min max rescaleConstant rescaleFactor",
    children="TargetValue",
)
_VALUE: Final = Shape(
    attributes="value priorProbability defaultValue", ignored="displayValue", children="Partition"
)
_CASTS: Final = ("none", "round", "ceiling", "floor")


def find_target(model: Element, name: str | None) -> Element | None:
    """Return the <Target> of the field that a model predicts, if it has one."""
    targets = model.find("Targets")
    if targets is None:
        return None
    found = [_TARGET.check(target) for target in _TARGETS.check(targets).find_all("Target")]
    for target in found:
        if name is not None and target.get("field") == name:
            return target
    if len(found) == 1 and (name is None or "field" not in found[0].attributes):
        return found[0]
    raise NotCompiled(f"{targets.where} has no <Target> for {name!r}")


def with_targets(target: Element, answer: Answer, scope: Scope, *, is_float: bool) -> Answer:
    """Return a model's answer after its <Target>."""
    values = [_VALUE.check(value) for value in target.find_all("TargetValue")]
    if answer.value is not None:
        return Answer(value=_number(target, values, answer.value, scope, is_float=is_float))
    if any(name in target.attributes for name in ("min", "max", "castInteger")):
        raise NotCompiled(f"{target.where}: limits are not understood in classification")
    priors = {v.get("value"): v.number("priorProbability") for v in values if _has_prior(v)}
    return _with_priors(priors, answer, scope, target.where) if priors else answer


def _has_prior(value: Element) -> bool:
    return "priorProbability" in value.attributes


def _number(
    target: Element, values: list[Element], value: str, scope: Scope, *, is_float: bool
) -> str:
    """Apply, in PMML's order: min and max, rescaleFactor, rescaleConstant, castInteger."""
    graph = scope.graph
    low, high = target.optional_number("min"), target.optional_number("max")
    result = value if low is None else graph.at_least(value, graph.number(low))
    result = result if high is None else graph.at_most(result, graph.number(high))
    factor, constant = target.number("rescaleFactor", 1.0), target.number("rescaleConstant", 0.0)
    for operator, number, neutral in (("Mul", factor, 1.0), ("Add", constant, 0.0)):
        if number != neutral:
            operand = float(np.float32(number)) if is_float else number
            result = graph.op(operator, result, graph.number(operand))
            result = graph.float32(result) if is_float else result
    match target.choice("castInteger", _CASTS, "none"):
        case "round":
            result = graph.half_up(result)
        case "ceiling":
            result = graph.op("Ceil", result)
        case "floor":
            result = graph.op("Floor", result)
    defaults = [v.number("defaultValue") for v in values if "defaultValue" in v.attributes]
    if len(defaults) > 1:
        raise NotCompiled(f"{target.where} has several default values")
    if defaults:
        result = graph.where(graph.is_missing(value), graph.number(defaults[0]), result)
    return result


def _with_priors(priors: dict[str, float], answer: Answer, scope: Scope, where: str) -> Answer:
    """Answer the prior probabilities where a record has no prediction."""
    assert scope.target is not None
    assert answer.label is not None
    graph = scope.graph
    row = [0.0] * len(answer.classes)
    for label, probability in priors.items():
        row[scope.target.index(label, where)] = probability
    missing = graph.is_missing(answer.label)
    probabilities = answer.probabilities
    if probabilities is not None:
        probabilities = graph.where(missing, graph.row(row), probabilities)
    label = graph.where(missing, graph.number(float(row.index(max(row)))), answer.label)
    return Answer(classes=answer.classes, label=label, probabilities=probabilities)
