"""The predictions of several models side by side, and how an ensemble combines them."""

from collections.abc import Sequence
from dataclasses import dataclass

from repertory.models.pmml.arithmetic import Arithmetic


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each member of an ensemble counts.

    `constants` are the weights. Where not every member counts for every record, `each` has the
    weights by record, [n, m], and `total` their sum, [n, 1], NaN where the record has no prediction.
    """

    constants: tuple[float, ...]
    each: str | None = None
    total: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether each member counts once, for every record."""
        return self.each is None and set(self.constants) == {1.0}


class Combination:
    """Combines matrices with a column for each member, [n, m], NaN where it predicts nothing.

    Where a member that counts predicts nothing, there is no prediction.
    """

    def __init__(self, graph: Arithmetic, weights: Weights) -> None:
        self._graph = graph
        self._weights = weights

    def total(self, matrix: str) -> str:
        """Return the weighted sum over the members."""
        graph, weights = self._graph, self._weights
        if weights.is_plain:
            return graph.row_sum(matrix)
        each = weights.each or graph.row(weights.constants)
        idle = graph.op("Equal", each, graph.number(0.0))
        counted = graph.where(idle, graph.number(0.0), graph.times(matrix, each))
        total = graph.row_sum(counted)
        if weights.total is None:
            return total
        some = graph.op("Greater", weights.total, graph.number(0.0))
        return graph.where(some, total, graph.number(float("nan")))

    def mean(self, matrix: str) -> str:
        """Return the weighted mean over the members."""
        total = self._weights.total or self._graph.number(sum(self._weights.constants))
        return self._graph.over(self.total(matrix), total)

    def means(self, matrices: Sequence[str]) -> str:
        """Return the weighted means of several matrices, side by side."""
        return self._graph.concat([self.mean(matrix) for matrix in matrices])


def ballots(graph: Arithmetic, labels: str, count: int) -> list[str]:
    """Return, for each class, a matrix of 1 where a member votes for it, 0 where for another."""
    missing = graph.is_missing(labels)
    votes = (graph.op("Equal", labels, graph.number(float(place))) for place in range(count))
    return [graph.unless(missing, graph.double(vote)) for vote in votes]


def median(graph: Arithmetic, values: str, count: int) -> str:
    """Return the median of each row; NaN where one value is."""
    ordered = graph.ascending(graph.rows(values), count)
    middle = graph.column(ordered, count // 2)
    if count % 2 == 0:
        both = graph.plus(graph.column(ordered, count // 2 - 1), middle)
        middle = graph.times(both, graph.number(0.5))
    return graph.unless(graph.is_missing(graph.row_sum(values)), middle)
