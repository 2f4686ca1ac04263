"""GeneralRegressionModel: linear predictors from a matrix of parameters, and link functions."""

from collections.abc import Mapping
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml import links
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import numeric
from repertory.models.pmml.linear import LinearPredictors
from repertory.models.pmml.model_element import DOCUMENTATION, FRAME, is_classification, refuse
from repertory.models.pmml.parameters import ParameterMatrix, read_parameters
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.xml import Element, Shape

_MODEL: Final = Shape(
    attributes="functionName isScorable modelType linkFunction linkParameter cumulativeLink"
    " targetReferenceCategory trialsVariable trialsValue offsetVariable offsetValue distribution"
    " distParameter x-mathContext mathContext",
    ignored=f"{DOCUMENTATION} targetVariableName modelDF",
    children=f"{FRAME} ParameterList FactorList CovariateList PPMatrix PCovMatrix ParamMatrix",
)
_LINEAR: Final = ("regression", "generalLinear")
_TYPES: Final = (*_LINEAR, "generalizedLinear", "multinomialLogistic", "ordinalMultinomial")
_LINKS: Final[Mapping[str, links.Link]] = {
    "identity": links.identity,
    "log": links.exponential,
    "logc": links.log_complement,
    "logit": links.logit,
    "cloglog": links.cloglog,
    "loglog": links.loglog,
    "probit": Arithmetic.normal_probability,
}
_PARAMETRIC: Final = ("negbin", "oddspower", "power")


def general_regression_model(element: Element, scope: Scope) -> Answer:
    """Compile a <GeneralRegressionModel>."""
    _MODEL.check(element)
    if element.choice("x-mathContext", ("double",), "double") != element.choice(
        "mathContext", ("double",), "double"
    ):
        raise refuse(element, "mathContext", "is not understood")
    kind = element.choice("modelType", _TYPES, "")
    parameters = read_parameters(element, scope)
    if not is_classification(element):
        return Answer(value=_number(element, kind, parameters, scope))
    assert scope.target is not None
    match kind:
        case "generalizedLinear":
            return _binary(element, parameters, scope, scope.target)
        case "multinomialLogistic":
            return _multinomial(element, parameters, scope, scope.target)
        case "ordinalMultinomial":
            return _ordinal(element, parameters, scope, scope.target)
    raise refuse(element, "modelType", "in classification is not understood")


def _number(element: Element, kind: str, parameters: ParameterMatrix, scope: Scope) -> str:
    if kind not in (*_LINEAR, "generalizedLinear"):
        raise refuse(element, "modelType", "in regression is not understood")
    predictors = parameters.predictors([None], scope)
    if kind in _LINEAR:
        _refuse_attributes(element, "offsetVariable offsetValue trialsVariable trialsValue")
        return predictors.matrix()
    return _mean(element, predictors, scope)


def _refuse_attributes(element: Element, names: str) -> None:
    for name in names.split():
        if name in element.attributes:
            raise refuse(element, name, "is not understood with this modelType")


def _add_offset(
    element: Element, predictors: LinearPredictors, places: range, scope: Scope
) -> None:
    """Add offsetVariable or offsetValue to linear predictors."""
    if "offsetVariable" in element.attributes:
        column = scope.column(element.get("offsetVariable"), element)
        for place in places:
            predictors.add(place, numeric(column, element.where).tensor, 1.0)
    for place in places:
        predictors.add_constant(place, element.number("offsetValue", 0.0))


def _mean(element: Element, predictors: LinearPredictors, scope: Scope) -> str:
    """Return the mean of a generalized linear model: trials × inverse link of the predictor."""
    graph = scope.graph
    _add_offset(element, predictors, range(1), scope)
    mean = _inverse_link(element, predictors.matrix(), graph)
    if "trialsVariable" in element.attributes:
        trials = scope.column(element.get("trialsVariable"), element)
        return graph.times(numeric(trials, element.where).tensor, mean)
    if "trialsValue" in element.attributes:
        return graph.times(graph.number(element.number("trialsValue")), mean)
    return mean


def _inverse_link(element: Element, y: str, graph: Arithmetic) -> str:
    name = element.require("linkFunction")
    element.choice("linkFunction", (*_LINKS, *_PARAMETRIC), "")
    one = graph.number(1.0)
    if name in _LINKS:
        return _LINKS[name](graph, y)
    if name == "negbin":
        growth = graph.minus(graph.exp(graph.negated(y)), one)
        return graph.over(one, graph.times(graph.number(element.number("distParameter")), growth))
    parameter = element.number("linkParameter")
    if name == "power":
        return graph.exp(y) if parameter == 0.0 else _root(graph, y, parameter)
    if parameter == 0.0:
        return links.logit(graph, y)
    inner = graph.plus(one, graph.times(graph.number(parameter), y))
    return graph.over(one, graph.plus(one, graph.op("Pow", inner, graph.number(-1.0 / parameter))))


def _root(graph: Arithmetic, y: str, parameter: float) -> str:
    if parameter == -1.0:
        return graph.over(graph.number(1.0), y)
    return y if parameter == 1.0 else graph.op("Pow", y, graph.number(1.0 / parameter))


def _binary(
    element: Element, parameters: ParameterMatrix, scope: Scope, target: TargetField
) -> Answer:
    """Two classes: the mean is the probability of the one that the parameters are for."""
    if len(target.classes) != 2:
        raise NotCompiled(f"{element.where}: {len(target.classes)} classes are not understood here")
    _refuse_attributes(element, "trialsVariable trialsValue")
    graph = scope.graph
    event = _event(element, parameters, target)
    category = next(iter(parameters.categories))
    mean = _mean(element, parameters.predictors([category], scope), scope)
    zero, one = graph.number(0.0), graph.number(1.0)
    mean = graph.at_most(graph.at_least(mean, zero), one)
    rest = graph.minus(one, mean)
    return _answer(graph.concat([mean, rest] if event == 0 else [rest, mean]), scope, target)


def _event(element: Element, parameters: ParameterMatrix, target: TargetField) -> int:
    """Return the index of the class whose probability the linear predictor gives."""
    named = [category for category in parameters.categories if category is not None]
    if len(parameters.categories) == 1 and named:
        event = target.index(named[0], element)
    elif not named and "targetReferenceCategory" in element.attributes:
        event = 1 - target.index(element.get("targetReferenceCategory"), element)
    else:
        raise NotCompiled(f"{element.where} does not say which class its parameters are for")
    if "targetReferenceCategory" in element.attributes:
        reference = target.index(element.get("targetReferenceCategory"), element)
        if reference == event:
            raise ModelRejected(f"{element.where}: its parameters are for the reference category")
    return event


def _multinomial(
    element: Element, parameters: ParameterMatrix, scope: Scope, target: TargetField
) -> Answer:
    """Softmax over the classes, the predictor of the reference category being 0."""
    _refuse_attributes(element, "trialsVariable trialsValue linkFunction")
    order, (reference,) = _by_class(element, parameters, target, lacking=1)
    if "targetReferenceCategory" in element.attributes:
        stated = target.index(element.get("targetReferenceCategory"), element)
        if stated != reference:
            raise ModelRejected(f"{element.where} has parameters for its reference category")
    graph = scope.graph
    predictors = parameters.predictors(list(order.values()), scope)
    _add_offset(element, predictors, range(len(order)), scope)
    matrix = predictors.matrix()
    columns = {index: graph.column(matrix, place) for place, index in enumerate(order)}
    columns[reference] = graph.unless(graph.is_missing(graph.row_sum(matrix)), graph.number(0.0))
    together = graph.concat([columns[index] for index in range(len(target.classes))])
    return _answer(graph.op("Softmax", together, axis=1), scope, target)


def _ordinal(
    element: Element, parameters: ParameterMatrix, scope: Scope, target: TargetField
) -> Answer:
    """P(class ≤ j) is the inverse cumulative link of the predictor of class j."""
    _refuse_attributes(element, "trialsVariable trialsValue linkFunction")
    order, (last,) = _by_class(element, parameters, target, lacking=1)
    if last != len(target.classes) - 1:
        raise NotCompiled(f"{element.where}: the class without parameters is not the last one")
    link = links.PROBABILITIES[element.choice("cumulativeLink", links.PROBABILITIES, "")]
    graph = scope.graph
    predictors = parameters.predictors([order[index] for index in range(last)], scope)
    _add_offset(element, predictors, range(last), scope)
    matrix = predictors.matrix()
    levels = [link(graph, graph.column(matrix, place)) for place in range(last)]
    return _answer(links.cumulative(graph, levels), scope, target)


def _by_class(
    element: Element, parameters: ParameterMatrix, target: TargetField, *, lacking: int
) -> tuple[dict[int, str], list[int]]:
    """Return the category of the parameters by index of its class, and the classes without any."""
    order = {target.index(name, element): name for name in parameters.categories if name}
    without = [index for index in range(len(target.classes)) if index not in order]
    if len(without) != lacking:
        raise NotCompiled(
            f"{element.where} has parameters for {len(order)} of {len(target.classes)} classes"
        )
    return order, without


def _answer(probabilities: str, scope: Scope, target: TargetField) -> Answer:
    label = scope.graph.first_maximum(probabilities)
    return Answer(classes=target.classes, label=label, probabilities=probabilities)
