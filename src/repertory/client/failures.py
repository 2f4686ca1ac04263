"""What a client raises, as a tree.

RequestFailed                what is raised for any call that failed, as `repertory.errors` has it
├── InvalidRequest           400, 405, 413, …: asked again, it would fail again
├── UnknownDataType          404, as is anything else that is not there
├── AccessDenied             401, 403: no token, or one that may not do this
├── Rejected                 422: a model or a policy cannot serve; `reason` says why
├── NoModel                  503: nothing serves the data type, for it was retired or never published
├── Overloaded               429, for longer than the call was allowed
├── Unavailable              503, for longer than the call was allowed
│   └── Unreachable          no node answered at all
├── DeadlineExceeded         504, or the call's time was over
└── InternalError            a defect, or what answers is no Repertory node
"""

from collections.abc import Mapping
from typing import Any

from repertory.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NoModel,
    Overloaded,
    PublishRejected,
    RequestFailed,
    Unavailable,
    UnknownDataType,
)


class AccessDenied(RequestFailed):
    """The node wants a token, or the one it got may not do this; `status` is 401 or 403."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Unavailable):
    """No node answered."""


class Rejected(PublishRejected):
    """A model or a policy was rejected; what served before goes on serving.

    `version` is None when it could not even be entered in the journal.
    """

    def __init__(self, reason: str, *, data_type: str, name: str, version: int | None) -> None:
        number = "" if version is None else f"version {version}"
        what = " ".join(filter(None, (data_type, name, number)))
        super().__init__(f"{what} was rejected: {reason}" if what else reason)
        self.reason = reason
        self.data_type = data_type
        self.name = name
        self.version = version


_BY_STATUS: Mapping[int, type[RequestFailed]] = {
    404: UnknownDataType,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def failure(status: int, answer: Mapping[str, Any], *, again: bool) -> RequestFailed:
    """Return the error of a reply; `again`: that it may be another one later."""
    told = str(answer.get("error") or f"the node answered {status}")
    if status in (401, 403):
        return AccessDenied(told, status)
    if status == 422:
        return _rejected(told, answer)
    if status == 503 and not again:
        return NoModel(told)
    known = _BY_STATUS.get(status)
    return (known or (InternalError if status >= 500 else InvalidRequest))(told)


def _rejected(told: str, answer: Mapping[str, Any]) -> Rejected:
    name = str(answer.get("name") or (answer.get("policy") and f"policy {answer['policy']}") or "")
    return Rejected(
        str(answer.get("reason") or told),
        data_type=str(answer.get("dataType") or ""),
        name=name,
        version=answer.get("version"),
    )
