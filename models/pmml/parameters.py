"""The parameters of a GeneralRegressionModel, and the predictors that each is multiplied with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.columns import numeric
from repertory.models.pmml.linear import LinearPredictors, product
from repertory.models.pmml.predicates import read_array
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.regression import power
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape, parse_number

_PARAMETERS: Final = Shape(children="Parameter")
_PARAMETER: Final = Shape(attributes="name", ignored="label referencePoint")
_PREDICTORS: Final = Shape(children="Predictor")
_PREDICTOR: Final = Shape(
    attributes="name", ignored="contrastMatrixType", children="Categories Matrix"
)
_CATEGORIES: Final = Shape(children="Category")
_CATEGORY: Final = Shape(attributes="value")
_MATRIX: Final = Shape(attributes="kind", ignored="nbRows nbCols", children="Array")
_PP_MATRIX: Final = Shape(children="PPCell")
_PP_CELL: Final = Shape(attributes="value predictorName parameterName")
_PARAM_MATRIX: Final = Shape(children="PCell")
_P_CELL: Final = Shape(attributes="targetCategory parameterName beta", ignored="df")


@dataclass(frozen=True, slots=True)
class ParameterMatrix:
    """The betas by target category (None: for all) and parameter, and each parameter's term.

    A term is a tensor, None for the intercept.
    """

    terms: dict[str, str | None]
    betas: dict[str | None, dict[str, float]]

    @property
    def categories(self) -> list[str | None]:
        """The target categories that parameters are for."""
        return list(self.betas)

    def predictors(self, categories: Sequence[str | None], scope: Scope) -> LinearPredictors:
        """Return a linear predictor for each category; parameters for all count in each."""
        predictors = LinearPredictors(scope.graph, len(categories))
        for place, category in enumerate(categories):
            own = self.betas.get(category, {})
            shared = self.betas.get(None, {}) if category is not None else {}
            for betas in (shared, own):
                for name, beta in betas.items():
                    self._add(predictors, place, name, beta)
        return predictors

    def _add(self, predictors: LinearPredictors, place: int, name: str, beta: float) -> None:
        term = self.terms[name]
        if term is None:
            predictors.add_constant(place, beta)
        else:
            predictors.add(place, term, beta)


def read_parameters(model: Element, scope: Scope) -> ParameterMatrix:
    """Read the parameter matrices of a model. Raises NotCompiled or ModelRejected."""
    listed = _PARAMETERS.check(model.need("ParameterList")).find_all("Parameter")
    names = [_PARAMETER.check(parameter).require("name") for parameter in listed]
    factors = _listed(model, "FactorList")
    covariates = _listed(model, "CovariateList")
    parts: dict[str, list[str]] = {name: [] for name in names}
    for cell in _PP_MATRIX.check(model.need("PPMatrix")).find_all("PPCell"):
        _PP_CELL.check(cell)
        predictor = cell.require("predictorName")
        if (predictor in factors) == (predictor in covariates):
            raise NotCompiled(
                f"{cell.where}: {predictor!r} is not in one of FactorList and CovariateList"
            )
        if predictor in factors:
            part = _factor(cell, factors[predictor], scope)
        else:
            part = _covariate(cell, scope)
        _known(parts, cell).append(part)
    terms = {name: product(scope.graph, part) if part else None for name, part in parts.items()}
    return ParameterMatrix(terms, _betas(model, parts))


def _known(parts: dict[str, list[str]], cell: Element) -> list[str]:
    name = cell.require("parameterName")
    if name not in parts:
        raise ModelRejected(f"{cell.where}: there is no parameter {name!r}")
    return parts[name]


def _betas(model: Element, parts: dict[str, list[str]]) -> dict[str | None, dict[str, float]]:
    betas: dict[str | None, dict[str, float]] = {}
    for cell in _PARAM_MATRIX.check(model.need("ParamMatrix")).find_all("PCell"):
        _P_CELL.check(cell)
        _known(parts, cell)
        name = cell.require("parameterName")
        category = betas.setdefault(cell.attributes.get("targetCategory"), {})
        if name in category:
            raise ModelRejected(f"{cell.where}: parameter {name!r} is there twice")
        category[name] = cell.number("beta")
    if not betas:
        raise ModelRejected(f"{model.where} has no parameters")
    return betas


def _listed(model: Element, tag: str) -> dict[str, Element]:
    predictors = model.find(tag)
    if predictors is None:
        return {}
    found = _PREDICTORS.check(predictors).find_all("Predictor")
    return {predictor.require("name"): _PREDICTOR.check(predictor) for predictor in found}


def _factor(cell: Element, predictor: Element, scope: Scope) -> str:
    """1 where the field has the cell's value, 0 where it has another, missing where it is.

    With a contrast matrix: its entry in the row of the field's value and the column of the cell's.
    """
    graph = scope.graph
    column = scope.column(cell.require("predictorName"), cell)
    matrix = predictor.find("Matrix")
    if matrix is None:
        number = graph.number(column.code(cell.require("value"), cell))
        return graph.compare("Equal", column.tensor, number)
    categories = _CATEGORIES.check(predictor.need("Categories")).find_all("Category")
    names = [_CATEGORY.check(category).require("value") for category in categories]
    rows = _contrasts(matrix, len(names))
    if cell.require("value") not in names[: len(rows[0])]:
        raise ModelRejected(f"{cell.where}: its value has no column in the contrast matrix")
    place = names.index(cell.require("value"))
    term = graph.number(math.nan)
    for name, row in zip(names, rows, strict=True):
        same = graph.op("Equal", column.tensor, graph.number(column.code(name, predictor)))
        term = graph.where(same, graph.number(row[place]), term)
    return term


def _contrasts(matrix: Element, count: int) -> list[list[float]]:
    """Return the rows of a contrast matrix, one for each category."""
    _MATRIX.check(matrix).choice("kind", ("any",), "any")
    rows = [
        [parse_number(item, array.where) for item in read_array(array)]
        for array in matrix.find_all("Array")
    ]
    if len(rows) != count or len({len(row) for row in rows}) != 1:
        raise ModelRejected(f"{matrix.where} has not a row of equal length for each category")
    return rows


def _covariate(cell: Element, scope: Scope) -> str:
    """The field to the power of the cell's value."""
    column = numeric(scope.column(cell.require("predictorName"), cell), cell.where)
    return power(scope.graph, column.tensor, cell.number("value"))
