"""Inverse link functions: from a linear predictor to a mean or a probability."""

import math
from collections.abc import Callable
from typing import Final

from repertory.models.pmml.arithmetic import Arithmetic

Link = Callable[[Arithmetic, str], str]


def identity(_graph: Arithmetic, y: str) -> str:
    """Y."""
    return y


def logit(graph: Arithmetic, y: str) -> str:
    """1 / (1 + exp(-y))."""
    one = graph.number(1.0)
    return graph.over(one, graph.plus(one, graph.exp(graph.negated(y))))


def cloglog(graph: Arithmetic, y: str) -> str:
    """1 - exp(-exp(y))."""
    return graph.minus(graph.number(1.0), graph.exp(graph.negated(graph.exp(y))))


def loglog(graph: Arithmetic, y: str) -> str:
    """exp(-exp(-y))."""
    return graph.exp(graph.negated(graph.exp(graph.negated(y))))


def cauchit(graph: Arithmetic, y: str) -> str:
    """0.5 + arctan(y) / pi."""
    turn = graph.times(graph.number(1.0 / math.pi), graph.arctan(y))
    return graph.plus(graph.number(0.5), turn)


def exponential(graph: Arithmetic, y: str) -> str:
    """exp(y)."""
    return graph.exp(y)


def log_complement(graph: Arithmetic, y: str) -> str:
    """1 - exp(y)."""
    return graph.minus(graph.number(1.0), graph.exp(y))


# Those that give a probability, under the names that regression and general regression share.
PROBABILITIES: Final[dict[str, Link]] = {
    "logit": logit,
    "probit": Arithmetic.normal_probability,
    "cloglog": cloglog,
    "loglog": loglog,
    "cauchit": cauchit,
}


def cumulative(graph: Arithmetic, levels: list[str]) -> str:
    """Return the probabilities of ordered classes from P(class ≤ j) for all classes but the last."""
    first, *others = levels
    parts = [first]
    for before, after in zip(levels, others, strict=False):
        parts.append(graph.minus(after, before))
    parts.append(graph.minus(graph.number(1.0), levels[-1]))
    return graph.concat(parts)
