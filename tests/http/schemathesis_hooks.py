"""What schemathesis is to know of our protocols, and of who sends its requests."""

import secrets
from typing import Any

import schemathesis

# Each request comes from another address, by way of a proxy that the node trusts: whoever tries
# too often without a token is told 429, and the checks wait for a 401.
FORWARDED = "X-Forwarded-For"


@schemathesis.serializer("application/x-protobuf")
def protobuf(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send bytes as they are; what is no message is for the node to refuse."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(_: object, case: "schemathesis.Case[Any]", __: dict[str, Any]) -> None:
    """Have a request come from anywhere."""
    case.headers[FORWARDED] = f"198.18.{byte()}.{byte()}"


@schemathesis.hook
def filter_case(_: object, case: "schemathesis.Case[Any]") -> bool:
    """Leave out forms that are wrong only by a type: in a form, all is text."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return True
    return all(isinstance(each, str | bytes) for each in case.body.values())


def byte() -> int:
    """Return a number that nobody foresees: those of `random`, Hypothesis has repeat."""
    return secrets.randbelow(256)
