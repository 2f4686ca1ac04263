"""What a request of the Open Inference Protocol asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from repertory.errors import InvalidRequest
from repertory.http.oip_binary import LENGTH_HEADER, binary_values
from repertory.http.oip_json import json_values
from repertory.http.tensors import MOST_DIMENSIONS, Tensor

BINARY_SIZE = "binary_data_size"
# What Triton knows beside, and what cannot be left out without another answer.
_NOT_HERE = ("shared_memory_region", "classification")
_MICROSECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that a request asks for, and whether as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Tensors to be scored, and how the reply is to be.

    No `outputs`: all there are, `binary` or not. `seconds`: None where the request says nothing.
    """

    tensors: tuple[Tensor, ...]
    id: str | None = None
    outputs: tuple[Wanted, ...] = ()
    binary: bool = False
    seconds: float | None = None


def read_request(body: bytes, json_bytes: int | None) -> InferRequest:
    """Return what a body asks for, of which the first `json_bytes` are JSON (None: all).

    Raises InvalidRequest, naming the place.
    """
    cut = len(body) if json_bytes is None else json_bytes
    if cut > len(body):
        raise InvalidRequest(f"{LENGTH_HEADER} is {cut}, but the body has {len(body)} bytes")
    view = memoryview(body)
    document = _object(_loaded(view[:cut]), "the body")
    parameters = _parameters(document, "the request")
    binary = _flag(parameters, "binary_data_output", default=False)
    inputs, outputs = _list(document, "inputs"), _list(document, "outputs")
    if inputs is None:
        raise InvalidRequest("inputs is missing")
    reader = _Reader(None if json_bytes is None else view[cut:])
    tensors = tuple(reader.tensor(each, number) for number, each in enumerate(inputs))
    reader.finish()
    return InferRequest(
        tensors, _id(document), _wanted(outputs or (), binary), binary, _seconds(parameters)
    )


class _Reader:
    """Takes the bytes of inputs from what follows the JSON, in their order."""

    def __init__(self, rest: memoryview | None) -> None:
        self._rest = rest

    def tensor(self, value: Any, number: int) -> Tensor:
        place = f"inputs[{number}]"
        document = _object(value, place)
        name, datatype = _text(document, "name", place), _text(document, "datatype", place)
        shape, parameters = _shape(document, name), _parameters(document, f"input {name!r}")
        _refuse_others(parameters, f"input {name!r}")
        size = parameters.get(BINARY_SIZE)
        if size is None:
            if "data" not in document:
                raise InvalidRequest(f"input {name!r} has neither data nor {BINARY_SIZE}")
            return Tensor(name, datatype, json_values(name, datatype, shape, document["data"]))
        if "data" in document:
            raise InvalidRequest(f"input {name!r} has data and {BINARY_SIZE}: give one of them")
        return Tensor(name, datatype, binary_values(name, datatype, shape, self._cut(name, size)))

    def finish(self) -> None:
        """Raise InvalidRequest when bytes are left over."""
        if self._rest:
            raise InvalidRequest(f"{len(self._rest)} bytes of the body belong to no input")

    def _cut(self, name: str, size: Any) -> memoryview:
        if type(size) is not int or size < 0:
            raise InvalidRequest(
                f"{BINARY_SIZE} of input {name!r} must be a number of bytes, not {size!r:.60}"
            )
        if self._rest is None:
            raise InvalidRequest(
                f"input {name!r} has {BINARY_SIZE}, but the request no header {LENGTH_HEADER}"
            )
        if size > len(self._rest):
            raise InvalidRequest(
                f"{BINARY_SIZE} of input {name!r} is {size}, but {len(self._rest)} bytes are left"
            )
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _wanted(outputs: Sequence[Any], binary: bool) -> tuple[Wanted, ...]:
    found: list[Wanted] = []
    for number, each in enumerate(outputs):
        document = _object(each, f"outputs[{number}]")
        name = _text(document, "name", f"outputs[{number}]")
        parameters = _parameters(document, f"output {name!r}")
        _refuse_others(parameters, f"output {name!r}")
        found.append(Wanted(name, _flag(parameters, "binary_data", default=binary)))
    if len({each.name for each in found}) < len(found):
        raise InvalidRequest("an output is asked for twice")
    return tuple(found)


def _refuse_others(parameters: Mapping[str, Any], owner: str) -> None:
    for name in _NOT_HERE:
        if parameters.get(name):
            raise InvalidRequest(f"{owner} has the parameter {name}, which is not served here")


def _seconds(parameters: Mapping[str, Any]) -> float | None:
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if type(timeout) is not int or timeout < 0:
        raise InvalidRequest(f"timeout must be a number of microseconds, not {timeout!r:.60}")
    return timeout * _MICROSECONDS or None  # 0 is Triton's word for none


def _id(document: Mapping[str, Any]) -> str | None:
    found = document.get("id")
    if found is not None and not isinstance(found, str):
        raise InvalidRequest(f"id must be a string, not {found!r:.60}")
    return found


def _shape(document: Mapping[str, Any], name: str) -> tuple[int, ...]:
    shape = document.get("shape")
    if not isinstance(shape, list) or any(type(size) is not int for size in shape):
        raise InvalidRequest(
            f"shape of input {name!r} must be a list of whole numbers, not {shape!r:.60}"
        )
    if len(shape) > MOST_DIMENSIONS:
        raise InvalidRequest(f"input {name!r} has more than {MOST_DIMENSIONS} dimensions")
    return tuple(shape)


def _loaded(text: memoryview) -> Any:
    if not text:
        raise InvalidRequest('the body is empty: send {"inputs": […]}')
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place} must be a JSON object, not {value!r:.60}")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any] | None:
    value = document.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidRequest(f"{key} must be a list, not {value!r:.60}")
    return value


def _parameters(document: Mapping[str, Any], owner: str) -> dict[str, Any]:
    found = document.get("parameters")
    return {} if found is None else _object(found, f"parameters of {owner}")


def _text(document: Mapping[str, Any], key: str, place: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        missing = "is missing" if value is None else f"must be a string, not {value!r:.60}"
        raise InvalidRequest(f"{key} of {place} {missing}")
    return value


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false, not {value!r:.60}")
    return value
