"""NormContinuous: a piecewise linear function, and its inverse."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import Element, Shape

_LINEAR_NORM: Final = Shape(attributes="orig norm")
_OUTLIERS: Final = ("asIs", "asMissingValues", "asExtremeValues")


@dataclass(frozen=True, slots=True)
class Norms:
    """The corners (from, to) of a piecewise linear function, with rising `from`."""

    corners: tuple[tuple[float, float], ...]
    outliers: str

    def inverse(self, where: str) -> "Norms":
        """Return the function that undoes this one. Raises NotCompiled when there is none."""
        swapped = tuple(sorted((to, from_) for from_, to in self.corners))
        if [a for a, _ in swapped] != sorted({a for a, _ in swapped}) or not _is_monotonic(swapped):
            raise NotCompiled(f"{where} cannot be inverted")
        return replace(self, corners=swapped)


def _is_monotonic(corners: tuple[tuple[float, float], ...]) -> bool:
    steps = [after[1] - before[1] for before, after in pairwise(corners)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def read_norms(element: Element) -> Norms:
    """Read the corners of a <NormContinuous>."""
    corners = tuple(
        (norm.number("orig"), norm.number("norm"))
        for norm in map(_LINEAR_NORM.check, element.find_all("LinearNorm"))
    )
    if len(corners) < 2:
        raise ModelRejected(f"{element.where} has fewer than 2 <LinearNorm>")
    if any(after[0] <= before[0] for before, after in pairwise(corners)):
        raise ModelRejected(
            f"{element.where}: orig does not rise from each <LinearNorm> to the next"
        )
    return Norms(corners, element.choice("outliers", _OUTLIERS, "asIs"))


def interpolated(graph: Arithmetic, tensor: str, norms: Norms) -> str:
    """Return the function of a column; outside the corners it is as `outliers` says."""
    corners = norms.corners
    pieces = [_line(graph, tensor, a, b) for a, b in pairwise(corners)]
    result = pieces[-1]
    for piece, (from_, _) in reversed(list(zip(pieces[:-1], corners[1:-1], strict=True))):
        result = graph.where(graph.op("Less", tensor, graph.number(from_)), piece, result)
    if norms.outliers == "asIs":
        return result
    below = graph.op("Less", tensor, graph.number(corners[0][0]))
    above = graph.op("Greater", tensor, graph.number(corners[-1][0]))
    if norms.outliers == "asMissingValues":
        return graph.unless(graph.either([below, above]), result)
    result = graph.where(below, graph.number(corners[0][1]), result)
    return graph.where(above, graph.number(corners[-1][1]), result)


def _line(graph: Arithmetic, x: str, a: tuple[float, float], b: tuple[float, float]) -> str:
    """The line through two corners, as PMML writes it: b1 + (x - a1) / (a2 - a1) * (b2 - b1)."""
    part = graph.over(graph.minus(x, graph.number(a[0])), graph.number(b[0] - a[0]))
    return graph.plus(graph.number(a[1]), graph.times(part, graph.number(b[1] - a[1])))
