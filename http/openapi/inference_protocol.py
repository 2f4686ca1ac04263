"""What the endpoints below `/v2` in `http/oip*.py` take and answer."""

from typing import Annotated, Any, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from repertory.http.openapi.failures import Error
from repertory.http.openapi.operation import (
    ASKS,
    BYTES,
    JSON_TYPE,
    NAMES,
    READS,
    Answer,
    Body,
    Operation,
    Parameter,
    answer,
    ref,
)
from repertory.http.openapi.queries import Milliseconds, Moment, Percentiles
from repertory.http.openapi.scoring import TIMEOUT
from repertory.http.tensors import DATATYPES

Datatype = Annotated[str, Field(json_schema_extra={"enum": list(DATATYPES)})]
Parameters = dict[str, str | int | float | bool]

MODEL_HEADERS = {
    "X-Repertory-Model": "The name of the model that answered.",
    "X-Repertory-Version": "Its version.",
    "X-Repertory-Sha256": "The SHA-256 of its content.",
}


class Server(TypedDict):
    """Who this is, and which extensions of the protocol are here."""

    name: str
    version: str
    extensions: list[str]


class Names(TypedDict):
    """The names by which models can be asked."""

    models: list[str]


class TensorMetadata(TypedDict):
    """What a tensor is; -1 stands for any number, of records."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(TypedDict):
    """What goes in and out of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: Parameters


class Readiness(TypedDict):
    """Whether a model serves."""

    name: str
    ready: bool


class Unready(Readiness, Error):
    """Why no model serves."""


class ModelConfiguration(TypedDict):
    """How a model is served, as Triton's model configuration says it."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    version_policy: dict[str, dict[str, list[int]]]
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    parameters: dict[str, dict[str, str]]


class Duration(TypedDict):
    """How often something was done, and how long that took altogether."""

    count: int
    ns: int


class ModelStatistics(TypedDict):
    """What a model did since it is on stage."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, Duration]
    batch_stats: list[Any]
    data_type: str
    model: str
    sha256: str
    min: NotRequired[Milliseconds]
    max: NotRequired[Milliseconds]
    percentiles: NotRequired[Percentiles]
    since: NotRequired[Moment]


class StatisticsOfModels(TypedDict):
    """What models did since they are on stage."""

    model_stats: list[ModelStatistics]


class InferInput(TypedDict):
    """A tensor: its elements are in `data`, or follow the JSON as so many bytes."""

    name: str
    datatype: Datatype
    shape: list[Annotated[int, Field(ge=0)]]
    data: NotRequired[list[Any]]
    parameters: NotRequired[dict[str, Any] | None]


class InferOutput(TypedDict):
    """An output that is asked for."""

    name: Annotated[str, Field(json_schema_extra={"enum": ["label", "value", "probabilities"]})]
    parameters: NotRequired[dict[str, Any] | None]


class InferQuestion(TypedDict):
    """Records as tensors: one for each feature, or one matrix for all in order."""

    inputs: Annotated[list[InferInput], Field(min_length=1)]
    id: NotRequired[str | None]
    outputs: NotRequired[list[InferOutput] | None]
    parameters: NotRequired[dict[str, Any] | None]


class InferredTensor(TypedDict):
    """An output; without `data`, its bytes follow the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: NotRequired[list[Any]]
    parameters: NotRequired[Parameters]


class InferAnswer(TypedDict):
    """The outputs for all records, of one model version."""

    model_name: str
    model_version: str
    id: NotRequired[str]
    parameters: Parameters
    outputs: list[InferredTensor]


class IndexQuestion(TypedDict):
    """Which models to list."""

    ready: NotRequired[bool]


class IndexEntry(TypedDict):
    """What became of a version."""

    name: str
    state: Annotated[str, Field(json_schema_extra={"enum": ["READY", "LOADING", "UNAVAILABLE"]})]
    reason: str
    version: NotRequired[str]
    model: NotRequired[str]
    sha256: NotRequired[str]


LoadParameters = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"signature": {"type": ["string", "null"]}},
            "patternProperties": {"^file:": {"type": "string", "contentEncoding": "base64"}},
        }
    ),
]


class LoadQuestion(TypedDict):
    """A model as the one parameter whose name begins with `file:`; nothing where it serves."""

    parameters: NotRequired[LoadParameters | None]


class UnloadQuestion(TypedDict):
    """Nothing that is looked at."""


class Loaded(TypedDict):
    """What serves now."""

    name: str
    state: str
    version: NotRequired[str | int]
    sha256: NotRequired[str | None]


class Unloaded(TypedDict):
    """What does not serve any more."""

    dataType: str
    state: str


_JSON_BYTES = Parameter(
    "Inference-Header-Content-Length",
    "The bytes of JSON that the body begins with, where elements of tensors follow them.",
    {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "header",
)
_NEW_NAME = Parameter(
    "dataType", "The data type of a model whose name is new.", ref("DataTypeName")
)

SERVER = Operation(
    "what the Open Inference Protocol can do here", {200: answer("This server.", Server)}
)
NAMES_OF_MODELS = Operation("the names to ask for", {200: answer("The names.", Names)}, ASKS)
METADATA = Operation(
    "what goes in and out", {200: answer("Its metadata.", ModelMetadata)}, (400, *NAMES)
)
MODEL_READY = Operation(
    "whether it serves",
    {
        200: answer("A model serves.", Readiness),
        503: Answer("None does.", {JSON_TYPE: Unready | Error}, {"Retry-After": "…"}),
    },
    (400, 404, 504),
)
CONFIG = Operation(
    "how it is served", {200: answer("Its configuration.", ModelConfiguration)}, (400, *NAMES)
)
STATISTICS = Operation(
    "how it does", {200: answer("Its statistics.", StatisticsOfModels)}, (400, *NAMES)
)
ALL_STATISTICS = Operation(
    "how all models do", {200: answer("The statistics.", StatisticsOfModels)}, ASKS
)
INFER = Operation(
    "score tensors",
    {
        200: Answer(
            "The outputs.",
            {JSON_TYPE: InferAnswer, "application/octet-stream": BYTES},
            MODEL_HEADERS,
            tuple(MODEL_HEADERS),
        )
    },
    (*NAMES, *READS, 429),
    [_JSON_BYTES, TIMEOUT],
    Body({JSON_TYPE: InferQuestion, "application/octet-stream": BYTES}, "tensors"),
    "All records are scored, or none is.",
)
INDEX = Operation(
    "what became of all versions",
    {200: answer("The versions.", list[IndexEntry])},
    (*READS, *ASKS),
    body=Body({JSON_TYPE: IndexQuestion}, required=False),
)
LOAD = Operation(
    "publish a model",
    {200: answer("It serves.", Loaded)},
    (*NAMES, *READS),
    [_NEW_NAME],
    Body({JSON_TYPE: LoadQuestion}, required=False),
    "400 when it will not serve.",
)
UNLOAD = Operation(
    "retire a model",
    {200: answer("It does not serve any more.", Unloaded)},
    (*NAMES, *READS),
    body=Body({JSON_TYPE: UnloadQuestion}, required=False),
)
