"""What the configuration of a node makes of the document: its data types, and examples of them."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from repertory.http.openapi.operation import Schema, ref
from repertory.http.signature import Signature
from repertory.http.tensors import BYTES

Signatures = Mapping[str, Signature]

# Values of an example beyond which it shows nobody anything.
_MOST_VALUES = 1000
_SCHEMAS: Mapping[str, Schema] = {
    "INT32": {"type": "integer", "format": "int32"},
    "INT64": {"type": "integer", "format": "int64"},
    "UINT32": {"type": "integer", "minimum": 0},
    "UINT64": {"type": "integer", "minimum": 0},
    "FP32": {"type": "number", "format": "float"},
    "FP64": {"type": "number", "format": "double"},
    "BOOL": {"type": "boolean"},
    BYTES: {"type": "string"},
}
_EXAMPLES: Mapping[str, Any] = {"FP32": 1.0, "FP64": 1.0, "BOOL": True, BYTES: "text"}
_WHOLE = 1  # of all other datatypes


def components(signatures: Signatures, nodes: Collection[str]) -> dict[str, Schema]:
    """Return the schemas that are of this node: `DataTypeName`, `Node`, `Records` and each record."""
    records = {f"Record.{name}": _record(name, each) for name, each in signatures.items()}
    several: list[Schema] = []
    for name in records:
        one = ref(name)
        rows = {"type": "array", "items": one}
        wrapped = {"type": "object", "properties": {"records": rows}, "required": ["records"]}
        several += [one, rows, wrapped]
    return {
        "DataTypeName": {"type": "string", "enum": sorted(signatures)},
        "Node": {"type": "string", "enum": sorted(nodes)},
        "Model": {
            "description": "A data type, or the name of a model that serves one.",
            "anyOf": [ref("DataTypeName"), {"type": "string", "pattern": "^[^/:]+$"}],
        },
        "Records": {
            "description": "A record, a list of records, or an object that holds such a list.",
            "anyOf": several,
        },
        **records,
    }


def examples(kind: str, signatures: Signatures) -> dict[str, Any]:
    """Return examples of a body that are answered, where a model serves: one for each data type."""
    if kind == "version":
        return {"first": {"summary": "the first version", "value": {"version": 1}}}
    if kind == "policy":
        value = {"policy": "latest"}
        return {"latest": {"summary": "the newest model answers", "value": value}}
    return {
        name: {"summary": f"of {name}", "value": value}
        for name, each in signatures.items()
        for value in _example(kind, each)
    }


def _example(kind: str, signature: Signature) -> Iterator[Any]:
    if sum(field.width or 1 for field in signature.fields) > _MOST_VALUES:
        return
    record = {field.name: _value(field.datatype, field.width) for field in signature.fields}
    if kind == "records":
        yield {"records": [record]}
    elif kind == "tensors":
        yield {"inputs": [_tensor(field.name, field, record) for field in signature.fields]}
    elif kind:
        yield {kind: [record]}


def _tensor(name: str, field: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    shape = [1] if field.width is None else [1, field.width]
    return {"name": name, "shape": shape, "datatype": field.datatype, "data": [record[name]]}


def _record(name: str, signature: Signature) -> Schema:
    return {
        "type": "object",
        "description": f"A record of {name}.",
        "properties": {field.name: _field(field) for field in signature.fields},
        "required": [field.name for field in signature.fields],
    }


def _field(field: Any) -> Schema:
    schema = _SCHEMAS[field.datatype]
    if field.width is None:
        return schema
    return {"type": "array", "items": schema, "minItems": field.width, "maxItems": field.width}


def _value(datatype: str, width: int | None) -> Any:
    value = _EXAMPLES.get(datatype, _WHOLE)
    return value if width is None else [value] * width
