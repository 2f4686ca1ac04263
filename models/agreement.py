"""Whether two engines answer the same records alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.models.model import Outcomes

# Engines add float32 numbers in different orders; classes closer than this are a tie.
TOLERANCE = 1e-5


def disagreement(one: Outcomes, other: Outcomes) -> str | None:
    """Return how two answers to the same records differ, None when they agree.

    Numbers may differ by TOLERANCE, absolute below one and relative above; labels may differ only
    where their probabilities do not. A record must fail in both or in neither, and what is said
    beside the answers must be the same, too.
    """
    if one.failures.keys() != other.failures.keys():
        row = min(one.failures.keys() ^ other.failures.keys())
        return f"record {row} is answered by one engine only"
    good = np.ones(one.count, np.bool_)
    good[list(one.failures)] = False
    return _answers(one, other, good) or _extras(one, other, good)


def _answers(one: Outcomes, other: Outcomes, good: NDArray[np.bool_]) -> str | None:
    if one.values is not None and other.values is not None:
        return _numbers(one.values[good], other.values[good])
    if one.probabilities is not None and other.probabilities is not None:
        if one.labels != other.labels:
            return f"the classes are {one.labels} and {other.labels}"
        found = _numbers(one.probabilities[good], other.probabilities[good])
        if found:
            return found
    return _labels(one, other, np.flatnonzero(good))


def _extras(one: Outcomes, other: Outcomes, good: NDArray[np.bool_]) -> str | None:
    if one.extras.keys() != other.extras.keys():
        return f"the further outputs are {sorted(one.extras)} and {sorted(other.extras)}"
    for name, extra in one.extras.items():
        found = _numbers(extra[good], other.extras[name][good])
        if found:
            return f"{name}: {found}"
    return None


def _numbers(one: NDArray[np.float64], other: NDArray[np.float64]) -> str | None:
    same = np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if same.all():
        return None
    place = tuple(np.argwhere(~same)[0])
    return f"one answers {one[place]}, the other {other[place]}"


def _labels(one: Outcomes, other: Outcomes, rows: NDArray[Any]) -> str | None:
    if one.chosen is None or other.chosen is None:
        return "one answers labels, the other numbers"
    for row in rows.tolist():
        left, right = one.labels[one.chosen[row]], other.labels[other.chosen[row]]
        if left != right and not _is_tie(one, row, right):
            return f"one answers {left}, the other {right}"
    return None


def _is_tie(outcomes: Outcomes, row: int, label: str) -> bool:
    if outcomes.probabilities is None or outcomes.chosen is None:
        return False
    probabilities = outcomes.probabilities[row]
    rival = probabilities[outcomes.labels.index(label)]
    return bool(probabilities[outcomes.chosen[row]] - rival <= 2 * TOLERANCE)
