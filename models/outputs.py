"""Which of a model's outputs is the label, the probabilities or the value, told from its answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import ModelRejected
from repertory.models.model import InputTensor, Signature, Task
from repertory.models.names import is_confidence, public_name

Outputs = Mapping[str, NDArray[Any]]

# Softmax in float32 leaves sums within 1e-6 of one; forests of thousands of trees within 1e-4.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of a model's outputs by what they are. `value` excludes the others."""

    value: str | None = None
    label: str | None = None
    scores: str | None = None
    """A number for each class; the largest is the label, unless there is a `label`."""
    classes: int = 0
    """How many `scores` there are."""
    are_probabilities: bool = False
    """Whether `scores` lie within [0, 1] and add up to 1."""
    extras: tuple[str, ...] = ()
    """Numbers that the model gives beside its answer, such as how sure it is."""


def roles_of(outputs: Outputs, count: int) -> Roles:
    """Return the roles of a model's outputs, given its answer to `count` records, at least two.

    * one output of numbers [n] or [n, 1]: a value;
    * one output of whole numbers or texts [n] or [n, 1]: a label;
    * one output of numbers [n, k], k > 1: scores of k classes;
    * a label, and scores beside it: both;
    * a label or probabilities, and any columns of numbers beside: those are extras;
    * a value, or scores that are no probabilities, and columns of numbers that are called like a
      confidence: those are extras, too.

    Raises ModelRejected for any others, naming them.
    """
    labels = [n for n, a in outputs.items() if _is_column(a, count) and a.dtype.kind in "iubOSU"]
    columns = [n for n, a in outputs.items() if _is_column(a, count) and a.dtype.kind == "f"]
    scores = [n for n, a in outputs.items() if _is_matrix(a, count) and a.dtype.kind == "f"]
    understood = len(labels) + len(columns) + len(scores) == len(outputs)
    if not understood or len({*map(public_name, columns)}) < len(columns):
        raise _refusal(outputs)
    if not (labels or scores):
        return _value_of(columns, outputs)
    if len(labels) > 1 or len(scores) > 1:
        raise _refusal(outputs)
    extras, label = tuple(columns), labels[0] if labels else None
    if not scores:
        return Roles(label=label, extras=extras)
    found = outputs[scores[0]]
    are_probabilities = _are_probabilities(found)
    if not (label or are_probabilities or all(map(is_confidence, columns))):
        raise _refusal(outputs)
    return Roles(
        label=label,
        scores=scores[0],
        classes=found.shape[1],
        are_probabilities=are_probabilities,
        extras=extras,
    )


def _value_of(columns: list[str], outputs: Outputs) -> Roles:
    """Return the one column that is not called like a confidence as the value."""
    values = [name for name in columns if len(columns) == 1 or not is_confidence(name)]
    if len(values) != 1:
        raise _refusal(outputs)
    return Roles(value=values[0], extras=tuple(name for name in columns if name != values[0]))


_MENDING = (
    "one of them must be the answer: a label, a matrix with the score of each class, or a value."
    " Beside it may be columns of floats; beside a value they must be called `confidence`, or end"
    " in that (`model_confidence`). Take out or rename the others"
)


def _refusal(outputs: Outputs) -> ModelRejected:
    return ModelRejected(
        f"the model's outputs are not understood: {_described(outputs)}; {_MENDING}"
    )


def _is_column(array: NDArray[Any], count: int) -> bool:
    return array.shape in ((count,), (count, 1))


def _is_matrix(array: NDArray[Any], count: int) -> bool:
    return array.ndim == 2 and array.shape[0] == count and array.shape[1] > 1


def _are_probabilities(scores: NDArray[Any]) -> bool:
    rows = scores[np.isfinite(scores).all(axis=1)]
    within = (rows >= -_TOLERANCE) & (rows <= 1 + _TOLERANCE)
    return bool(within.all() and (abs(rows.sum(axis=1) - 1) <= _TOLERANCE).all())


def _described(outputs: Outputs) -> str:
    return ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in outputs.items()) or "none"


def signature_of(
    tensors: tuple[InputTensor, ...], roles: Roles, outputs: Outputs, classes: tuple[str, ...]
) -> Signature:
    """Return the signature of a model with these roles, and these answers to probe records.

    `classes` are those that the model itself ties to its scores, empty if it ties none: then a
    label stands alone, and the classes of scores without a label are called 0, 1, 2, …. Where there
    are scores that are no probabilities and no label, the caller adds the label.
    """
    if roles.value is not None:
        return Signature(
            Task.REGRESSION, tensors, value_output=roles.value, extra_outputs=roles.extras
        )
    probabilities = roles.scores if roles.are_probabilities else None
    if roles.label is None:
        classes = classes or tuple(map(str, range(roles.classes)))
        return Signature(
            Task.CLASSIFICATION,
            tensors,
            probabilities_output=probabilities,
            classes=classes,
            extra_outputs=roles.extras,
        )
    seen = {str(value) for value in outputs[roles.label].reshape(-1).tolist()}
    if len(classes) != roles.classes or not seen <= set(classes):
        classes, probabilities = (), None
    return Signature(
        Task.CLASSIFICATION,
        tensors,
        label_output=roles.label,
        probabilities_output=probabilities,
        classes=classes,
        extra_outputs=roles.extras,
    )


def difference(one: Outputs, other: Outputs, tolerance: float) -> str | None:
    """Return how two answers to the same records differ, None when they do not.

    Floats may differ by `tolerance`, absolute for numbers below one and relative above.
    """
    for name, left in one.items():
        right = other[name]
        if left.size != right.size:
            return f"{name} has shape {list(left.shape)} and {list(right.shape)}"
        left, right = left.reshape(-1), right.reshape(-1)
        if left.dtype.kind == "f":
            same = np.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            same = np.asarray(left == right)
        if not same.all():
            place = int(np.flatnonzero(~same)[0])
            return f"{name} is {left[place]} and {right[place]}"
    return None
