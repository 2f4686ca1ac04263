"""The OpenAPI document: all endpoints, as their table and their operations tell of them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from pydantic import TypeAdapter

import repertory
from repertory.http.openapi.failures import ACCESS, FAILURES
from repertory.http.openapi.operation import (
    COMPONENT,
    TEXT,
    Answer,
    Body,
    Operation,
    Parameter,
    ref,
)
from repertory.http.openapi.records import Signatures, components, examples
from repertory.http.visitor import OPEN, Needed

_REF = "#/components/schemas/{model}"
_ABOUT = """Models and records both arrive as data.

Every error has a body `{"error": "…"}` that says what is wrong. `x-repertory-role` is the role that
an operation needs where tokens or certificates are in force."""
# By the first part of a path; all others tell of the node.
_TAGS = {
    "score": "Scoring",
    "models": "Models",
    "policies": "Policies",
    "compare": "Policies",
    "v2": "Open Inference Protocol",
    "v1": "TensorFlow Serving",
}
_NODE = "Node"
_PATHS: Mapping[str, Mapping[str, Any]] = {
    "dataType": ref("DataTypeName"),
    "node": ref("Node"),
    "model": ref("Model"),
    "version": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "label": {"type": "string", "pattern": "^[^/:]+$"},
    "file": {"type": "string", "pattern": "^[^/]+$"},
}
# What is likely to be there; what `dataType`, `node` and `model` may be, their schemas say.
_EXAMPLES: Mapping[str, str] = {"version": "1", "label": "stable"}
_SCHEMES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "token": {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token."},
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The token as the password, of any name.",
        },
    },
    "certificate": {
        "certificate": {"type": "mutualTLS", "description": "A certificate that has roles."}
    },
}


class Described(Protocol):
    """What an endpoint tells of itself."""

    @property
    def method(self) -> str:
        """Its HTTP method."""

    @property
    def plain_path(self) -> str:
        """Its path, with names in braces."""

    @property
    def role(self) -> Needed:
        """The role that it needs."""

    @property
    def operation(self) -> Operation:
        """What it takes and answers."""


def make_document(
    endpoints: Sequence[Described],
    signatures: Signatures,
    *,
    nodes: Collection[str],
    ways: Collection[str],
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; `ways` are those by which somebody can be let in."""
    types = _Types(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        told = _Told(each, types, signatures, guarded=bool(ways) and each.role != OPEN)
        paths.setdefault(each.plain_path, {})[each.method.lower()] = told.operation(ways)
    schemes = {name: dict(each) for way in ways for name, each in _SCHEMES[way].items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Repertory", "version": repertory.__version__, "description": _ABOUT},
        "servers": [{"url": "./"}],
        "tags": [{"name": name} for name in dict.fromkeys([*_TAGS.values(), _NODE])],
        "paths": paths,
        "components": {
            "schemas": {**components(signatures, nodes), **types.schemas},
            "responses": {
                _failed(status): _reply(each, types) for status, each in FAILURES.items()
            },
            **({"securitySchemes": schemes} if schemes else {}),
        },
    }


class _Types:
    """Schemas of all types that are named, as pydantic has them; schemas stay what they are."""

    def __init__(self, endpoints: Iterable[Described]) -> None:
        held = {id(each): each for one in endpoints for each in _held(one.operation)}
        types = {key: each for key, each in held.items() if not isinstance(each, Mapping)}
        adapters = [(key, "validation", TypeAdapter(each)) for key, each in types.items()]
        found, document = TypeAdapter.json_schemas(adapters, ref_template=_REF)  # type: ignore[arg-type]
        self._schemas = {key: _tidy(schema) for (key, _), schema in found.items()}
        self.schemas: dict[str, Any] = _tidy(document.get("$defs", {}))

    def schema(self, held: Any) -> Mapping[str, Any]:
        """Return the schema of a type."""
        found: Mapping[str, Any] = self._schemas.get(id(held), held)
        return found


class _Told:
    """One operation of the document."""

    def __init__(
        self, endpoint: Described, types: _Types, signatures: Signatures, *, guarded: bool
    ) -> None:
        self._endpoint = endpoint
        self._types = types
        self._signatures = signatures
        self._guarded = guarded

    def operation(self, ways: Collection[str]) -> dict[str, Any]:
        """Return what is below a path and a method."""
        endpoint, told = self._endpoint, self._endpoint.operation
        about = {
            "operationId": _id(endpoint.method, endpoint.plain_path),
            "summary": told.summary,
            "tags": [_TAGS.get(endpoint.plain_path.split("/")[1], _NODE)],
            "x-repertory-role": endpoint.role,
            "parameters": [*self._of_path(), *map(_parameter, told.parameters)],
            "responses": dict(self._replies()),
        }
        if told.about:
            about["description"] = told.about
        if told.body is not None:
            about["requestBody"] = self._body(told.body)
        if self._guarded:
            about["security"] = [{name: []} for way in ways for name in _SCHEMES[way]]
        return about

    def _of_path(self) -> Iterator[dict[str, Any]]:
        for name in re.findall(r"\{(\w+)\}", self._endpoint.plain_path):
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "schema": _PATHS[name],
                **self._example(name),
            }

    def _example(self, name: str) -> dict[str, str]:
        found = min(self._signatures, default=None) if name == "model" else _EXAMPLES.get(name)
        return {} if found is None else {"example": found}

    def _body(self, body: Body) -> dict[str, Any]:
        content = {
            kind: {"schema": self._types.schema(each)} for kind, each in body.content.items()
        }
        if body.examples:
            found = examples(body.examples, self._signatures)
            content["application/json"] |= {"examples": found}
        return {"content": content, "required": body.required}

    def _replies(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        told = self._endpoint.operation
        fails = {*told.fails, *(ACCESS if self._guarded else ())}
        for status in sorted({*told.answers, *fails}):
            if status in told.answers:
                yield str(status), _reply(told.answers[status], self._types)
            else:
                yield str(status), {"$ref": f"#/components/responses/{_failed(status)}"}


def _failed(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _reply(said: Answer, types: _Types) -> dict[str, Any]:
    reply: dict[str, Any] = {"description": said.about}
    if said.headers:
        reply["headers"] = {
            name: {"description": about, "required": name in said.always, "schema": TEXT}
            for name, about in said.headers.items()
        }
    if said.content:
        reply["content"] = {
            kind: {"schema": types.schema(each)} for kind, each in said.content.items()
        }
    return reply


def _held(operation: Operation) -> Iterator[Any]:
    """Yield all types and schemas that bodies and replies hold."""
    for reply in (*operation.answers.values(), *FAILURES.values()):
        yield from reply.content.values()
    if operation.body is not None:
        yield from operation.body.content.values()


def _parameter(told: Parameter) -> dict[str, Any]:
    return {
        "name": told.name,
        "in": told.place,
        "description": told.about,
        "required": False,
        "schema": told.schema,
    }


def _id(method: str, path: str) -> str:
    """Return a name for a function of a client, such as `postScoreDataType`."""
    words = re.findall(r"\w+", path) or ["index"]
    return method.lower() + "".join(each[:1].upper() + each[1:] for each in words)


def _tidy(schema: Any) -> Any:
    """Return a schema with all references, and without the titles that pydantic makes of names."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if COMPONENT in schema:
        return ref(schema[COMPONENT])
    return {
        key: _tidy(each)
        for key, each in schema.items()
        if not (key == "title" and isinstance(each, str))
    }
