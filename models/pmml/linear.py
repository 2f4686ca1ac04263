"""Linear predictors: terms that are columns, times coefficients, plus an intercept."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from repertory.models.pmml.arithmetic import Arithmetic


class LinearPredictors:
    """Several linear predictors over shared terms, computed as one matrix product.

    A term is a tensor [n, 1]; a record that lacks one has no prediction, whatever its coefficient.
    """

    def __init__(self, graph: Arithmetic, count: int) -> None:
        self._graph = graph
        self._constants = np.zeros(count)
        self._terms: dict[str, dict[int, float]] = {}

    def add_constant(self, predictor: int, number: float) -> None:
        """Add a number to one predictor."""
        self._constants[predictor] += number

    def add(self, predictor: int, term: str, coefficient: float) -> None:
        """Add a term to one predictor."""
        coefficients = self._terms.setdefault(term, {})
        coefficients[predictor] = coefficients.get(predictor, 0.0) + coefficient

    def is_trivial(self, predictor: int) -> bool:
        """Tell whether a predictor is zero for every record."""
        return self._constants[predictor] == 0.0 and not any(
            coefficients.get(predictor, 0.0) != 0.0 for coefficients in self._terms.values()
        )

    def matrix(self) -> str:
        """Return the predictors, [n, count]."""
        graph = self._graph
        if not self._terms:
            return graph.row(self._constants.tolist())
        weights = np.zeros((len(self._terms), len(self._constants)))
        for place, coefficients in enumerate(self._terms.values()):
            for predictor, coefficient in coefficients.items():
                weights[place, predictor] = coefficient
        terms = graph.matrix_of(list(self._terms))
        return graph.linear(terms, weights, self._constants.tolist())


def product(graph: Arithmetic, factors: Sequence[str]) -> str:
    """Return the product of columns; 1 for none."""
    return reduce(graph.times, factors) if factors else graph.number(1.0)
