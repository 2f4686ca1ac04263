"""The replies of TensorFlow Serving's REST API.

Source: json_tensor.cc of tensorflow/serving; `results`, which its documentation calls `result`.
"""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from repertory.errors import InvalidRequest
from repertory.http.inference import LABEL, PROBABILITIES, VALUE, Inferred
from repertory.http.replies import json_reply
from repertory.http.tensors import BYTES, Tensor
from repertory.http.traceability import model_headers

# As TensorFlow Serving prints a class that has no score.
_NO_SCORE = 0.0


def predict_reply(inferred: Inferred, *, row: bool) -> web.Response:
    """Return all outputs, an object for each record or a list for each output; one has no name."""
    columns = {each.name: _plain(each) for each in inferred.outputs}
    said: Any
    if len(columns) == 1:
        (said,) = columns.values()
    elif row:
        rows = zip(*columns.values(), strict=True)
        said = [dict(zip(columns, each, strict=True)) for each in rows]
    else:
        said = columns
    return _reply(inferred, "predictions" if row else "outputs", said)


def classify_reply(inferred: Inferred) -> web.Response:
    """Return what `classes` are. Raises InvalidRequest when the model gives numbers."""
    return _reply(inferred, "results", classes(inferred))


def regress_reply(inferred: Inferred) -> web.Response:
    """Return a number for each record. Raises InvalidRequest when the model gives classes."""
    return _reply(inferred, "results", numbers(inferred))


def classes(inferred: Inferred) -> Sequence[Sequence[tuple[str, float]]]:
    """Return pairs of label and score for each record, in the order of the model's classes.

    Raises InvalidRequest when the model gives numbers.
    """
    columns = {each.name: _plain(each) for each in inferred.outputs}
    if LABEL not in columns:
        raise InvalidRequest(f"{_which(inferred)} gives numbers, not classes: use regress")
    if PROBABILITIES not in columns:
        return [[(label, _NO_SCORE)] for label in columns[LABEL]]
    return [list(zip(inferred.labels, row, strict=True)) for row in columns[PROBABILITIES]]


def numbers(inferred: Inferred) -> Sequence[float]:
    """Return a number for each record. Raises InvalidRequest when the model gives classes."""
    columns = {each.name: _plain(each) for each in inferred.outputs}
    if VALUE not in columns:
        raise InvalidRequest(f"{_which(inferred)} gives classes, not numbers: use classify")
    values: Sequence[float] = columns[VALUE]
    return values


def _plain(tensor: Tensor) -> list[Any]:
    elements: list[Any] = tensor.values.tolist()
    return [each.decode() for each in elements] if tensor.datatype == BYTES else elements


def _which(inferred: Inferred) -> str:
    return f"model {inferred.model.name!r}, version {inferred.model.version},"


def _reply(inferred: Inferred, key: str, said: Any) -> web.Response:
    return json_reply({key: said}, headers=model_headers(inferred.model))
