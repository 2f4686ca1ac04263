"""From an engine's output tensors to one outcome for each record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.model import Failed, Outcomes, Signature, Task

NO_PREDICTION = Failed(FailureCode.SCORING_FAILED, "the model gives no prediction for this record")
INFINITE = Failed(FailureCode.SCORING_FAILED, "the model's value for this record is infinite")


_TEXTS = frozenset({str, type(None)})


class UnfitOutput(Exception):
    """An engine gave a tensor that its signature does not describe."""


class OutputReader:
    """Reads the outputs that a signature names. Pure."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._index = {name: i for i, name in enumerate(signature.classes)}
        wanted = (signature.value_output, signature.label_output, signature.probabilities_output)
        self.names = [*filter(None, wanted), *signature.extra_outputs]
        self._extras = dict(zip(signature.extra_names(), signature.extra_outputs, strict=True))

    def empty(self) -> Outcomes:
        """Return the outcomes of no records."""
        return self._nothing(0, {})

    def failed(self, failed: Failed) -> Outcomes:
        """Return the outcomes of one record, which failed."""
        return self._nothing(1, {0: failed})

    def _nothing(self, count: int, failures: Mapping[int, Failed]) -> Outcomes:
        extras = {name: np.full(count, np.nan) for name in self._extras}
        if self._signature.task is Task.REGRESSION:
            values = np.full(count, np.nan)
            return Outcomes(count, values=values, failures=failures, extras=extras)
        classes = self._signature.classes
        probabilities = None
        if self._signature.probabilities_output is not None:
            probabilities = np.full((count, len(classes)), np.nan)
        chosen = np.full(count, -1, np.int32)
        return Outcomes(count, None, classes, chosen, probabilities, failures, extras)

    def read(self, outputs: Mapping[str, NDArray[Any]], count: int) -> Outcomes:
        """Return the outcomes of `count` records. Raises UnfitOutput."""
        is_value = self._signature.task is Task.REGRESSION
        outcomes = self._values(outputs, count) if is_value else self._labels(outputs, count)
        if not self._extras:
            return outcomes
        extras = {
            name: _finite(_column(outputs, output, count), outcomes.failures)
            for name, output in self._extras.items()
        }
        return replace(outcomes, extras=extras)

    def _values(self, outputs: Mapping[str, NDArray[Any]], count: int) -> Outcomes:
        values = _column(outputs, self._signature.value_output, count).astype(np.float64)
        failures: dict[int, Failed] = {}
        if not np.isfinite(values).all():
            failures = dict.fromkeys(np.flatnonzero(np.isnan(values)).tolist(), NO_PREDICTION)
            failures |= dict.fromkeys(np.flatnonzero(np.isinf(values)).tolist(), INFINITE)
        return Outcomes(count, values=values, failures=failures)

    def _labels(self, outputs: Mapping[str, NDArray[Any]], count: int) -> Outcomes:
        labels, classes = self._signature.label_output, self._signature.classes
        probabilities = self._probabilities(outputs, count)
        if labels is None:
            if probabilities is None:
                raise UnfitOutput("the signature names neither a label nor probabilities")
            chosen = probabilities.argmax(axis=1).astype(np.int32)
        elif self._signature.label_is_index:
            chosen = _indices(_column(outputs, labels, count), len(classes))
        else:
            chosen, classes = self._named(_column(outputs, labels, count))
        failures = dict.fromkeys(np.flatnonzero(chosen < 0).tolist(), NO_PREDICTION)
        if probabilities is not None and not np.isfinite(probabilities).all():
            bad = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
            chosen[bad] = -1
            failures |= dict.fromkeys(bad.tolist(), NO_PREDICTION)
        return Outcomes(
            count, labels=classes, chosen=chosen, probabilities=probabilities, failures=failures
        )

    def _probabilities(
        self, outputs: Mapping[str, NDArray[Any]], count: int
    ) -> NDArray[np.float64] | None:
        name = self._signature.probabilities_output
        if name is None:
            return None
        found = outputs[name]
        due = (count, len(self._signature.classes))
        if found.shape != due:
            raise UnfitOutput(f"{name} has shape {list(found.shape)}, where {list(due)} is due")
        return found.astype(np.float64)

    def _named(self, labels: NDArray[Any]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Return the labels as indices into the classes, and the classes.

        A label that is not among the declared classes is no prediction; without declared ones, the
        classes are those that occur.
        """
        if self._signature.classes and labels.dtype.kind in "OU":
            texts = labels.tolist()
            if _TEXTS.issuperset(map(type, texts)):  # as a rule; a fraction of the time
                return np.array(
                    [self._index.get(t, -1) for t in texts], np.int32
                ), self._signature.classes
        absent = np.zeros(len(labels), np.bool_)
        if labels.dtype.kind == "O":
            absent = np.array([label is None for label in labels.tolist()], np.bool_)
            labels = np.where(absent, "", labels)
        found, places = np.unique(labels, return_inverse=True)
        texts = [str(label) for label in _whole(found).tolist()]
        if self._signature.classes:
            indices = np.array([self._index.get(text, -1) for text in texts], np.int32)
            chosen, classes = indices[places], self._signature.classes
        else:
            chosen, classes = places.astype(np.int32), tuple(texts)
        chosen[absent] = -1
        if found.dtype.kind == "f":
            chosen[np.isnan(labels)] = -1
        return chosen, classes


def _column(outputs: Mapping[str, NDArray[Any]], name: str | None, count: int) -> NDArray[Any]:
    if name is None:
        raise UnfitOutput("the signature does not name the output that its task needs")
    found = outputs[name]
    if found.shape not in ((count,), (count, 1)):
        raise UnfitOutput(f"{name} has shape {list(found.shape)}, where [{count}] is due")
    return found.reshape(count)


def _finite(column: NDArray[Any], failures: Mapping[int, Failed]) -> NDArray[np.float64]:
    """Return an extra, NaN where it is not finite and where a record failed."""
    extra = np.where(np.isfinite(column), column, np.nan).astype(np.float64)
    extra[list(failures)] = np.nan
    return extra


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels that are whole numbers held as floats as integers, so that 5.0 prints as 5."""
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == labels.round()).all():
        return labels.astype(np.int64)
    return labels


def _indices(found: NDArray[Any], classes: int) -> NDArray[np.int32]:
    values = found.astype(np.float64)
    good = (values >= 0) & (values < classes)
    return np.where(good, values, -1).astype(np.int32)


def spread(outcomes: Outcomes, rows: NDArray[np.intp], count: int) -> Outcomes:
    """Return outcomes of the records at `rows` as outcomes of a batch of `count`.

    The other records have no number and no failure yet.
    """
    failures = {int(rows[index]): failed for index, failed in outcomes.failures.items()}
    values = chosen = probabilities = None
    if outcomes.values is not None:
        values = np.full(count, np.nan)
        values[rows] = outcomes.values
    if outcomes.chosen is not None:
        chosen = np.full(count, -1, np.int32)
        chosen[rows] = outcomes.chosen
    if outcomes.probabilities is not None:
        probabilities = np.full((count, outcomes.probabilities.shape[1]), np.nan)
        probabilities[rows] = outcomes.probabilities
    extras = {}
    for name, extra in outcomes.extras.items():
        extras[name] = np.full(count, np.nan)
        extras[name][rows] = extra
    return Outcomes(count, values, outcomes.labels, chosen, probabilities, failures, extras)


def with_failures(outcomes: Outcomes, failures: Mapping[int, Failed]) -> Outcomes:
    """Return `outcomes` with `failures` instead of what the model said of those records."""
    if not failures:
        return outcomes
    extras = {name: _finite(extra, failures) for name, extra in outcomes.extras.items()}
    return replace(outcomes, failures={**outcomes.failures, **failures}, extras=extras)


def joined(parts: list[Outcomes]) -> Outcomes:
    """Return the outcomes of batches of one record each as those of one batch.

    Labels need not be the same in all parts, because some models declare no classes.
    """
    failures = {i: part.failures[0] for i, part in enumerate(parts) if 0 in part.failures}
    extras = {
        name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras
    }
    if parts[0].values is not None:
        return Outcomes(
            len(parts),
            values=np.concatenate([_of(part.values) for part in parts]),
            failures=failures,
            extras=extras,
        )
    labels = tuple(dict.fromkeys(label for part in parts for label in part.labels))
    index = {label: i for i, label in enumerate(labels)}
    chosen = np.array(
        [-1 if 0 in part.failures else index[part.labels[_of(part.chosen)[0]]] for part in parts],
        np.int32,
    )
    probabilities = None
    if parts[0].probabilities is not None:
        probabilities = np.concatenate([_of(part.probabilities) for part in parts])
    return Outcomes(len(parts), None, labels, chosen, probabilities, failures, extras)


def _of(array: NDArray[Any] | None) -> NDArray[Any]:
    if array is None:
        raise UnfitOutput("a model answered records of one batch in different ways")
    return array
