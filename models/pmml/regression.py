"""RegressionModel: linear predictors, and the normalisation that makes numbers or probabilities."""

from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import numeric
from repertory.models.pmml.linear import LinearPredictors, product
from repertory.models.pmml.links import PROBABILITIES, cumulative, exponential, identity, logit
from repertory.models.pmml.model_element import (
    DOCUMENTATION,
    FRAME,
    is_classification,
    is_float,
    refuse,
)
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.xml import Element, Shape

_MODEL: Final = Shape(
    attributes="functionName isScorable normalizationMethod x-mathContext mathContext",
    ignored=f"{DOCUMENTATION} modelType targetFieldName targetField",
    children=f"{FRAME} RegressionTable",
)
_TABLE: Final = Shape(
    attributes="intercept targetCategory",
    children="NumericPredictor CategoricalPredictor PredictorTerm",
)
_NUMERIC: Final = Shape(attributes="name exponent coefficient")
_CATEGORICAL: Final = Shape(attributes="name value coefficient")
_TERM: Final = Shape(attributes="coefficient", ignored="name", children="FieldRef")
_FIELD_REF: Final = Shape(attributes="field")

# softmax of a single number is defined as the logistic function.
_NUMBERS: Final = {
    "none": identity,
    "exp": exponential,
    "softmax": logit,
    **PROBABILITIES,
}
_MAX_EXPONENT: Final = 1000


def regression_model(element: Element, scope: Scope) -> Answer:
    """Compile a <RegressionModel>."""
    _MODEL.check(element)
    tables = [_TABLE.check(table) for table in element.find_all("RegressionTable")]
    if not tables:
        raise ModelRejected(f"{element.where} has no <RegressionTable>")
    predictors = LinearPredictors(scope.graph, len(tables))
    for place, table in enumerate(tables):
        _read_table(table, place, predictors, scope)
    if is_classification(element):
        return _classified(element, tables, predictors, scope)
    if len(tables) != 1:
        raise ModelRejected(f"{element.where} predicts a number with {len(tables)} tables")
    method = element.choice("normalizationMethod", _NUMBERS, "none")
    return Answer(
        value=_rounded(_NUMBERS[method](scope.graph, predictors.matrix()), element, scope)
    )


def _rounded(tensor: str, element: Element, scope: Scope) -> str:
    return scope.graph.float32(tensor) if is_float(element) else tensor


def _read_table(table: Element, place: int, predictors: LinearPredictors, scope: Scope) -> None:
    predictors.add_constant(place, table.number("intercept"))
    for child in table.children:
        match child.tag:
            case "NumericPredictor":
                predictors.add(place, _numeric_term(child, scope), child.number("coefficient"))
            case "CategoricalPredictor":
                predictors.add(place, _indicator(child, scope), child.number("coefficient"))
            case "PredictorTerm":
                predictors.add(place, _product_term(child, scope), child.number("coefficient"))


def _numeric_term(element: Element, scope: Scope) -> str:
    _NUMERIC.check(element)
    column = numeric(scope.column(element.require("name"), element), element.where)
    exponent = element.number("exponent", 1.0)
    if exponent != int(exponent) or abs(exponent) > _MAX_EXPONENT:
        raise refuse(element, "exponent", "is not an integer")
    return power(scope.graph, column.tensor, exponent)


def power(graph: Arithmetic, tensor: str, exponent: float) -> str:
    """Return a column to a constant power; a missing value stays missing, even to the power 0."""
    if exponent == 1.0:
        return tensor
    if exponent == 0.0:
        return graph.unless(graph.is_missing(tensor), graph.number(1.0))
    return graph.op("Pow", tensor, graph.number(exponent))


def _indicator(element: Element, scope: Scope) -> str:
    """1 where the field has the value, 0 where it has another or is missing."""
    _CATEGORICAL.check(element)
    column = scope.column(element.require("name"), element)
    number = column.code(element.require("value"), element)
    return scope.graph.double(scope.graph.op("Equal", column.tensor, scope.graph.number(number)))


def _product_term(element: Element, scope: Scope) -> str:
    _TERM.check(element)
    references = [_FIELD_REF.check(reference) for reference in element.find_all("FieldRef")]
    columns = [scope.column(reference.require("field"), reference) for reference in references]
    return product(scope.graph, [numeric(column, element.where).tensor for column in columns])


def _classified(
    element: Element, tables: list[Element], predictors: LinearPredictors, scope: Scope
) -> Answer:
    graph, target = scope.graph, scope.target
    assert target is not None
    places = [target.index(table.require("targetCategory"), table) for table in tables]
    if sorted(places) != list(range(len(target.classes))):
        raise NotCompiled(
            f"{element.where} has {len(tables)} tables for {len(target.classes)} classes"
        )
    by_table = _probabilities(element, predictors, target, graph)
    order = [places.index(place) for place in range(len(places))]
    probabilities = graph.op("Gather", by_table, graph.integers(order), axis=1)
    probabilities = _rounded(probabilities, element, scope)
    return Answer(
        classes=target.classes,
        label=graph.first_maximum(probabilities),
        probabilities=probabilities,
    )


def _probabilities(
    element: Element, predictors: LinearPredictors, target: TargetField, graph: Arithmetic
) -> str:
    """Return the probabilities in the order of the tables."""
    matrix = predictors.matrix()
    count = len(target.classes)
    method = element.choice("normalizationMethod", (*_NUMBERS, "simplemax"), "none")
    if method == "softmax" and not target.is_ordinal:
        return graph.op("Softmax", matrix, axis=1)
    if method == "simplemax" and not target.is_ordinal:
        return graph.over(matrix, graph.row_sum(matrix))
    columns = [graph.column(matrix, place) for place in range(count - 1)]
    if method == "none":
        return _as_they_are(columns, graph, is_ordinal=target.is_ordinal)
    if method not in PROBABILITIES or (count != 2 and not target.is_ordinal):
        kind = "ordinal" if target.is_ordinal else "categorical"
        raise refuse(element, "normalizationMethod", f"with {count} {kind} classes")
    if count == 2 and predictors.is_trivial(0):
        raise refuse(element, "normalizationMethod", "with an empty first table")
    return cumulative(graph, [PROBABILITIES[method](graph, column) for column in columns])


def _as_they_are(columns: list[str], graph: Arithmetic, *, is_ordinal: bool) -> str:
    """The predictors are probabilities; that of the last class is what the others leave."""
    if is_ordinal:
        return cumulative(graph, columns)
    zero, one = graph.number(0.0), graph.number(1.0)
    if len(columns) == 1:
        columns = [graph.at_most(graph.at_least(columns[0], zero), one)]
    rest = one
    for column in columns:
        rest = graph.minus(rest, column)
    return graph.concat([*columns, rest])
