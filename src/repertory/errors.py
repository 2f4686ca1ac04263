"""Everything that can go wrong, as a tree.

RepertoryError
├── ConfigError            cluster.yaml or the environment says something impossible
├── ModelRejected          a model cannot be served faithfully; the reason names what is at fault
├── SnapshotCorrupt        a snapshot's bytes are not what was written
├── JournalError           the journal cannot be read or written
├── ProtocolError          the peer behind a door speaks garbage; the connection is closed
└── RequestFailed          a question or a batch got no answer as a whole
    ├── InvalidRequest
    ├── Unauthenticated
    ├── Forbidden
    ├── UnknownDataType
    ├── NotFound
    ├── NoModel
    ├── Overloaded
    ├── DeadlineExceeded
    ├── Unavailable
    ├── PublishRejected
    └── InternalError

A record that fails alone is not an error but a value: see `FailureCode` and
`repertory.actors.batch.RecordFailed`. No class here knows an HTTP status: the face maps by class.
"""

from enum import StrEnum
from typing import Final


class FailureCode(StrEnum):
    """Why a request or a record failed; what travels in `Failure`, `RecordFailure` and dead letters."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNKNOWN_DATA_TYPE = "unknown_data_type"
    NOT_FOUND = "not_found"
    NO_MODEL = "no_model"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"
    ELSEWHERE = "elsewhere"  # another node serves it; said to routers only
    REJECTED = "rejected"
    INTERNAL = "internal"
    # Of one record:
    INVALID_RECORD = "invalid_record"  # cannot be decoded
    WRONG_DATA_TYPE = "wrong_data_type"  # says that it is of another data type
    MISSING_FEATURE = (
        "missing_feature"  # absent or NaN, and the model does not declare how to treat it
    )
    INVALID_FEATURE = (
        "invalid_feature"  # wrong type, infinite, or outside what the model declares valid
    )
    SCORING_FAILED = "scoring_failed"  # the model raised, or gave no prediction, for this record


class RepertoryError(Exception):
    """Base of every error that Repertory raises on purpose."""


class ConfigError(RepertoryError):
    """The configuration is wrong; the message names the file, the key and the value."""


class ModelRejected(RepertoryError):
    """A model cannot be served faithfully; `reason` is a sentence that names what is at fault."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SnapshotCorrupt(RepertoryError):
    """A snapshot's bytes are not what was written."""


class JournalError(RepertoryError):
    """The journal cannot be read or written."""


class ProtocolError(RepertoryError):
    """The peer behind a door speaks garbage; the connection is closed."""


class RequestFailed(RepertoryError):
    """A question or a batch got no answer as a whole; each subclass carries its `code`."""

    code = FailureCode.INTERNAL


class InvalidRequest(RequestFailed):
    """The request cannot be understood."""

    code = FailureCode.INVALID_REQUEST


class Unauthenticated(RequestFailed):
    """Who asks has not shown who that is; `fault` is that of the token that was shown, if one was."""

    code = FailureCode.UNAUTHENTICATED

    def __init__(self, message: str, *, fault: str = "") -> None:
        super().__init__(message)
        self.fault = fault


class Forbidden(RequestFailed):
    """Who asks is known, and may not do this."""

    code = FailureCode.FORBIDDEN


class UnknownDataType(RequestFailed):
    """No data type of that name is declared in cluster.yaml."""

    code = FailureCode.UNKNOWN_DATA_TYPE


class NotFound(RequestFailed):
    """The thing asked for, such as a model version, does not exist."""

    code = FailureCode.NOT_FOUND


class NoModel(RequestFailed):
    """The data type is known, but no model serves it yet."""

    code = FailureCode.NO_MODEL


class Overloaded(RequestFailed):
    """The credit is used up; try again later."""

    code = FailureCode.OVERLOADED


class DeadlineExceeded(RequestFailed):
    """The deadline passed before there was an answer."""

    code = FailureCode.DEADLINE_EXCEEDED


class Unavailable(RequestFailed):
    """The process that would answer is not there just now; try again."""

    code = FailureCode.UNAVAILABLE


class PublishRejected(RequestFailed):
    """The published model was rejected; the old one still serves."""

    code = FailureCode.REJECTED


class InternalError(RequestFailed):
    """A defect in Repertory."""

    code = FailureCode.INTERNAL


# Those that a node knows; the client has some of its own.
REQUEST_FAILURES: Final = tuple(RequestFailed.__subclasses__())
_BY_CODE = {error.code: error for error in REQUEST_FAILURES}


def request_failure(code: str, message: str) -> RequestFailed:
    """Return the error that a `Failure` of this code stands for."""
    try:
        return _BY_CODE[FailureCode(code)](message)
    except (KeyError, ValueError):
        return InternalError(message)
