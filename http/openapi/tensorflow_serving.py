"""What the endpoints below `/v1` in `http/tfs*.py` take and answer."""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from repertory.http.openapi.inference_protocol import MODEL_HEADERS
from repertory.http.openapi.operation import (
    JSON_TYPE,
    NAMES,
    READS,
    Answer,
    Body,
    Operation,
    answer,
)
from repertory.http.openapi.scoring import TIMEOUT
from repertory.http.tfs_models import STATES
from repertory.http.tfs_request import SIGNATURE

SignatureName = Annotated[str, Field(json_schema_extra={"enum": ["", SIGNATURE]})]
TfsState = Annotated[str, Field(json_schema_extra={"enum": sorted(set(STATES.values()))})]


class _Question(TypedDict):
    signature_name: NotRequired[SignatureName]


class PredictRows(_Question):
    """Records by row: an object, or a list of all features in order, for each."""

    instances: Annotated[list[Any], Field(min_length=1)]


class PredictColumns(_Question):
    """Records by column: a list for each feature."""

    inputs: dict[str, Any] | list[Any]


class Examples(_Question):
    """Records as objects of features; what they have in common is in `context`."""

    examples: Annotated[list[dict[str, Any]], Field(min_length=1)]
    context: NotRequired[dict[str, Any]]


class PredictedRows(TypedDict):
    """What is predicted, for each record."""

    predictions: list[Any]


class PredictedColumns(TypedDict):
    """What is predicted, for each output."""

    outputs: dict[str, list[Any]] | list[Any]


ClassAndScore = Annotated[list[str | float | None], Field(min_length=2, max_length=2)]


class Classified(TypedDict):
    """Pairs of class and score, for each record."""

    results: list[list[ClassAndScore]]


class Regressed(TypedDict):
    """A number for each record."""

    results: list[float | None]


class TfsStatus(TypedDict):
    """Why a version is in its state."""

    error_code: str
    error_message: str


class TfsVersion(TypedDict):
    """In which state a version is."""

    version: str
    state: TfsState
    status: TfsStatus


class TfsVersions(TypedDict):
    """In which state each version is, the newest first."""

    model_version_status: list[TfsVersion]


class TfsMetadata(TypedDict):
    """What goes in and out of a model."""

    model_spec: dict[str, str]
    metadata: dict[str, Any]


def _scoring(summary: str, question: Any, said: Any, examples: str) -> Operation:
    reply = Answer(
        "What the model says of all records.",
        {JSON_TYPE: said},
        MODEL_HEADERS,
        tuple(MODEL_HEADERS),
    )
    body = Body({JSON_TYPE: question}, examples)
    return Operation(summary, {200: reply}, (*NAMES, *READS, 429), [TIMEOUT], body)


STATUS = Operation(
    "how a model's versions do", {200: answer("The versions.", TfsVersions)}, (400, *NAMES)
)
METADATA = Operation(
    "what goes in and out", {200: answer("Its metadata.", TfsMetadata)}, (400, *NAMES)
)
PREDICT = _scoring(
    "score rows or columns",
    PredictRows | PredictColumns,
    PredictedRows | PredictedColumns,
    "instances",
)
CLASSIFY = _scoring("the classes of examples", Examples, Classified, "examples")
REGRESS = _scoring("the values of examples", Examples, Regressed, "examples")
