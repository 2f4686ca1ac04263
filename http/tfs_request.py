"""What a request of TensorFlow Serving's REST API asks for.

Source: json_tensor.cc and api_rest.md of tensorflow/serving.
"""

import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from repertory.errors import InvalidRequest
from repertory.http.oip_json import json_values
from repertory.http.signature import Signature
from repertory.http.tensors import BYTES, Tensor

INSTANCES, INPUTS, EXAMPLES, CONTEXT = "instances", "inputs", "examples", "context"
SIGNATURE = "serving_default"
_BASE64 = "b64"
# JSON has no word for these numbers, TensorFlow Serving has.
_TOKENS = (b"NaN", b"Infinity")
# Of an input of texts: one for each record, or a list of one.
_TEXT_DEPTH = 2


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Tensors to be scored; the reply is to be by `row`, or by column."""

    tensors: tuple[Tensor, ...]
    row: bool


def read_predict(body: bytes, signature: Signature) -> PredictRequest:
    """Return what the body of a `:predict` asks for. Raises InvalidRequest, naming the place."""
    document = _document(body, f'{{"{INSTANCES}": […]}} or {{"{INPUTS}": …}}')
    given = [key for key in (INSTANCES, INPUTS) if key in document]
    if len(given) != 1:
        found = "both" if given else "neither"
        raise InvalidRequest(f"the body has {found} of {INSTANCES} and {INPUTS}: send one of them")
    if given == [INPUTS]:
        return PredictRequest(_of_columns(document[INPUTS], signature), row=False)
    rows = _rows(document, INSTANCES)
    if _is_object(rows[0]):
        return PredictRequest(_tensors(_columns(rows, INSTANCES), signature), row=True)
    return PredictRequest((_of_values(rows, signature),), row=True)


def read_examples(body: bytes, signature: Signature) -> tuple[Tensor, ...]:
    """Return the tensors of a `:classify` or `:regress`. Raises InvalidRequest, naming the place."""
    document = _document(body, f'{{"{EXAMPLES}": […]}}')
    rows = _rows(document, EXAMPLES)
    context = document.get(CONTEXT, {})
    if not _is_object(context):
        raise InvalidRequest(f"{CONTEXT} must be an object of features, not {context!r:.60}")
    return example_tensors(rows, context, signature)


def example_tensors(
    rows: Sequence[Any], context: Mapping[str, Any], signature: Signature
) -> tuple[Tensor, ...]:
    """Return the tensors of examples and of what all of them have. Raises InvalidRequest."""
    columns = _columns(rows, EXAMPLES)
    if doubled := sorted(columns.keys() & context.keys()):
        raise InvalidRequest(f"features are in {CONTEXT} and in {EXAMPLES}: {', '.join(doubled)}")
    columns |= {name: [value] * len(rows) for name, value in context.items()}
    # In an example, a value is a list of one.
    lists = {
        name: [each if isinstance(each, list) else [each] for each in column]
        for name, column in columns.items()
    }
    return _tensors(lists, signature)


def _document(body: bytes, due: str) -> dict[str, Any]:
    if not body:
        raise InvalidRequest(f"the body is empty: send {due}")
    document = _loaded(body)
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be {due}, not {document!r:.60}")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidRequest(f"signature_name must be a string, not {name!r:.60}")
    if name not in ("", SIGNATURE):
        raise InvalidRequest(f"there is no signature {name!r:.60}; there is: {SIGNATURE}")
    return document


def _loaded(body: bytes) -> Any:
    fault: Exception
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = error
    if any(token in body for token in _TOKENS):
        try:
            return json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            fault = error
    raise InvalidRequest(f"the body is not JSON: {fault}")


def _rows(document: Mapping[str, Any], key: str) -> list[Any]:
    rows = document.get(key)
    if not isinstance(rows, list):
        missing = "is missing" if rows is None else f"must be a list, not {rows!r:.60}"
        raise InvalidRequest(f"{key} {missing}")
    if not rows:
        raise InvalidRequest(f"{key} is empty")
    return rows


def _is_object(value: Any) -> bool:
    """Whether a value has names, and does not stand for bytes."""
    return isinstance(value, dict) and value.keys() != {_BASE64}


def _of_columns(inputs: Any, signature: Signature) -> tuple[Tensor, ...]:
    if _is_object(inputs):
        return _tensors(inputs, signature)
    name = signature.fields[0].name if len(signature.fields) == 1 else INPUTS
    return _tensors({name: inputs}, signature)


def _of_values(rows: list[Any], signature: Signature) -> Tensor:
    """Return the one input, or the matrix of all features, that rows without names hold."""
    if len(signature.fields) == 1:
        return _tensor(signature.fields[0].name, rows, signature)
    if not isinstance(rows[0], list):
        names = ", ".join(field.name for field in signature.fields)
        raise InvalidRequest(
            f"{INSTANCES}[0] must be an object, or a list of all features in order ({names}),"
            f" not {rows[0]!r:.60}"
        )
    return _tensor(INSTANCES, rows, signature)


def _columns(rows: Sequence[Any], key: str) -> dict[str, list[Any]]:
    for number, row in enumerate(rows):
        if not _is_object(row):
            raise InvalidRequest(f"{key}[{number}] must be an object, not {row!r:.60}")
        if row.keys() != rows[0].keys():
            different = ", ".join(sorted(map(repr, row.keys() ^ rows[0].keys())))
            raise InvalidRequest(f"{key}[{number}] differs from {key}[0] in its keys: {different}")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _tensors(columns: Mapping[str, Any], signature: Signature) -> tuple[Tensor, ...]:
    return tuple(_tensor(name, data, signature) for name, data in columns.items())


def _tensor(name: str, data: Any, signature: Signature) -> Tensor:
    datatypes = {field.name: field.datatype for field in signature.fields}
    shape, leaf = _shape(data)
    # An unknown name is for the signature to judge.
    datatype = datatypes.get(name) or (BYTES if isinstance(leaf, str) else "FP64")
    if datatype == BYTES:
        data = _decoded(name, data, _TEXT_DEPTH)
    return Tensor(name, datatype, json_values(name, datatype, shape, data))


def _shape(data: Any) -> tuple[tuple[int, ...], Any]:
    """Return the shape of nested lists as their first elements tell it, and the first of all."""
    sizes = list[int]()
    while isinstance(data, list):
        sizes.append(len(data))
        data = data[0] if data else None
    return tuple(sizes), data


def _decoded(name: str, data: Any, depth: int) -> Any:
    """Return nested lists with texts in place of `{"b64": "…"}`."""
    if isinstance(data, list) and depth:
        return [_decoded(name, each, depth - 1) for each in data]
    if not isinstance(data, dict) or data.keys() != {_BASE64}:
        return data
    try:
        return binascii.a2b_base64(data[_BASE64], strict_mode=True).decode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{_BASE64} in input {name!r} is no text in base64: {error}") from None
