"""What `POST /score/{dataType}` in `http/scoring.py` takes and answers."""

from typing import NotRequired

from typing_extensions import TypedDict

from repertory.actors.batch import SlotState
from repertory.http.openapi.operation import (
    BYTES,
    JSON_TYPE,
    NAMES,
    READS,
    Body,
    Operation,
    Parameter,
    answer,
    ref,
)

FLAG = {"type": "string", "enum": ["true", "false", "1", "0"]}
TIMEOUT = Parameter(
    "X-Request-Timeout",
    "Seconds that the answer may take; http.deadline_ms if it is more.",
    {"type": "number", "exclusiveMinimum": 0},
    "header",
)


class ModelOfAnswer(TypedDict):
    """A model version, whole."""

    name: str
    version: int
    sha256: str


class ModelNamed(TypedDict):
    """A model version."""

    name: str
    version: int


class Outcome(TypedDict):
    """A label or a value, or the record's own error. NaN and infinities are null."""

    label: NotRequired[str]
    probabilities: NotRequired[dict[str, float | None]]
    value: NotRequired[float | None]
    error: NotRequired[str]
    code: NotRequired[str]


class SlotAnswer(Outcome):
    """What a slot said of a record."""

    slot: str
    version: int | None


class Result(Outcome):
    """What became of a record; and, where a policy chose, whose answer it is."""

    slot: NotRequired[str]
    model: NotRequired[ModelNamed]
    fallback: NotRequired[bool]
    answers: NotRequired[list[SlotAnswer]]


class SlotPart(TypedDict):
    """What became of a slot's part."""

    slot: str
    state: SlotState
    shadow: bool
    model: ModelOfAnswer | None
    reason: str


class PolicyPart(TypedDict):
    """How a policy chose."""

    name: str
    version: int
    slackMs: float | None
    slots: list[SlotPart]


class Scored(TypedDict):
    """One result for each record, in their order."""

    dataType: str
    model: ModelOfAnswer | None
    policy: NotRequired[PolicyPart]
    results: list[Result]


SCORE = Operation(
    "score records",
    {200: answer("The results; 200 also where some, or all, of the records failed.", Scored)},
    (*NAMES, *READS, 429),
    [
        Parameter("explain", "Whether to say what each slot said.", FLAG),
        TIMEOUT,
    ],
    Body({JSON_TYPE: ref("Records"), "application/x-protobuf": BYTES}, "records"),
    "A record that lacks a feature, or has one of another type, fails alone.",
)
