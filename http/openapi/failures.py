"""What is answered when a request fails: one form for all errors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NotRequired

from typing_extensions import TypedDict

from repertory.http.openapi.operation import JSON_TYPE, Answer


class Error(TypedDict):
    """What is wrong, where, and how to mend it."""

    error: str


class Rejected(Error):
    """A model or a policy that is not taken; what was there before is in force still."""

    state: str
    reason: str
    dataType: NotRequired[str]
    name: NotRequired[str]
    version: NotRequired[int]


_JSON = {JSON_TYPE: Error}
_LATER = {"Retry-After": "Seconds after which to try again."}
_WHO = {"WWW-Authenticate": "How to show a token: as Bearer, or as the password of Basic."}

FAILURES: Mapping[int, Answer] = MappingProxyType(
    {
        400: Answer("The request cannot be understood.", _JSON),
        401: Answer("No token, or one that is unknown or expired.", _JSON, _WHO, tuple(_WHO)),
        403: Answer("The token has not the role, or not for this data type.", _JSON),
        404: Answer("There is no data type, model, version or node of that name.", _JSON),
        408: Answer("The body did not arrive in time.", _JSON),
        413: Answer("The body, or the model in it, is too large.", _JSON),
        422: Answer("Rejected: it was understood, and cannot be served.", {JSON_TYPE: Rejected}),
        429: Answer("Too many requests at present.", _JSON, _LATER, tuple(_LATER)),
        503: Answer("No model serves, or what would answer is not there just now.", _JSON, _LATER),
        504: Answer("The time allowed was over.", _JSON),
    }
)
# Where a token or a certificate is needed.
ACCESS = (401, 403, 429)
