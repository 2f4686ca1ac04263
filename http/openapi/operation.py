"""What the OpenAPI document says of one endpoint, beside its method, its path and its role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

JSON_TYPE = "application/json"
# Raw bytes, as OpenAPI 3.1 describes them.
BYTES: Schema = {}
TEXT: Schema = {"type": "string"}
# In the schema of a type, a reference to what pydantic does not know: it stands alone in an object.
COMPONENT = "x-component"


def ref(component: str) -> Schema:
    """Return a reference to a schema that the configuration makes: see `components`."""
    return {"$ref": f"#/components/schemas/{component}"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query string, or a header of a request."""

    name: str
    about: str
    schema: Schema
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Body:
    """What may be sent: a schema, or a type that pydantic knows, for each content type.

    `examples` names a set that the configuration makes: see `examples`.
    """

    content: Mapping[str, Any]
    examples: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: what it says, its further headers (those in `always` are in each), what it holds.

    As for a body, a schema or a type that pydantic knows.
    """

    about: str
    content: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    always: Sequence[str] = ()


def answer(about: str, json: Any) -> Answer:
    """Return a reply in JSON."""
    return Answer(about, {JSON_TYPE: json})


@dataclass(frozen=True, slots=True)
class Operation:
    """A line about it, and all that may be asked and answered; `fails` has statuses of `FAILURES`.

    What parts of the path are, the configuration tells. Whether a token is needed, and what is
    answered without one, is not said here, as it depends on the node.
    """

    summary: str
    answers: Mapping[int, Answer]
    fails: Sequence[int] = ()
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    about: str = ""


# Of which nothing is told; no document that has it is valid.
UNTOLD = Operation("", {})

# Of whatever asks the router, …
ASKS = (503, 504)
# … of what names something in its path, …
NAMES = (404, *ASKS)
# … and of what has a body.
READS = (400, 408, 413)
