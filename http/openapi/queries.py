"""What the endpoints in `http/queries.py` answer, and the others that only look."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from repertory.http.openapi.failures import Error
from repertory.http.openapi.operation import (
    ASKS,
    NAMES,
    TEXT,
    Answer,
    Operation,
    Parameter,
    answer,
    ref,
)
from repertory.journal.lifecycle import ModelState

Moment = Annotated[int, Field(description="Milliseconds since 1970.")]
Milliseconds = Annotated[float, Field(description="Milliseconds.")]
Task = Literal["classification", "regression"]
Classes = Annotated[int, Field(description="How many probabilities come beside a label.")]


class OnStage(TypedDict):
    """A model that serves."""

    dataType: str
    name: str
    description: str
    modelType: str
    version: int
    sha256: str
    since: Moment
    task: Task
    probabilities: NotRequired[Classes]
    slot: NotRequired[str]
    replicas: NotRequired[dict[str, dict[str, Any]]]


class ModelsOnStage(TypedDict):
    """All models that serve."""

    models: list[OnStage]
    asOf: Moment


class Processors(TypedDict):
    """The data types that are served, as the original model server tells them."""

    models: list[str]


class Percentiles(TypedDict):
    """Of what a record waited for its score, once it was taken in hand."""

    p50: Milliseconds
    p90: Milliseconds
    p99: Milliseconds
    p999: Milliseconds


class DataTypeState(TypedDict):
    """How a model does since it is on stage; where a policy chooses, the best-ranked one."""

    dataType: str
    name: NotRequired[str]
    description: NotRequired[str]
    modelType: NotRequired[str]
    version: NotRequired[int]
    sha256: NotRequired[str]
    since: NotRequired[Moment]
    task: NotRequired[Task]
    probabilities: NotRequired[Classes]
    usage: NotRequired[int]
    errors: NotRequired[int]
    batches: NotRequired[int]
    duration: NotRequired[Milliseconds]
    min: NotRequired[Milliseconds]
    max: NotRequired[Milliseconds]
    percentiles: NotRequired[Percentiles]
    node: NotRequired[str]
    policy: NotRequired[dict[str, Any]]
    slots: NotRequired[dict[str, dict[str, Any]]]
    replicas: NotRequired[dict[str, dict[str, Any]]]
    asOf: NotRequired[Moment]
    stale: NotRequired[bool]
    staleSince: NotRequired[Moment]


class Step(TypedDict):
    """A state that a version came to."""

    state: ModelState
    at: Moment
    reason: str


class ModelVersion(TypedDict):
    """A version of a model, and what became of it."""

    dataType: str
    name: str
    version: int
    sha256: str
    state: ModelState
    reason: str
    description: str
    modelType: str | None
    signedBy: str | None
    publishedBy: str | None
    origin: str | None
    published: Moment
    servingSince: Moment | None
    retired: Moment | None
    slot: NotRequired[str]
    history: list[Step]


class ModelVersions(TypedDict):
    """All versions of a data type, the newest first."""

    dataType: str
    versions: list[ModelVersion]


class NodeHealth(TypedDict):
    """Whether a node can do all that it is configured to do, and what is in the way."""

    ready: bool
    node: NotRequired[str]
    waiting_for: NotRequired[list[str]]
    troubles: NotRequired[dict[str, list[str]]]


class NotReady(NodeHealth, Error):
    """Why a node is not ready."""


class NodeStatus(NodeHealth):
    """How a whole node does."""

    data_types: NotRequired[dict[str, dict[str, Any]]]
    faces: NotRequired[dict[str, dict[str, Any]]]


class Running(TypedDict):
    """That the process runs."""

    live: bool


class Pair(TypedDict):
    """How far two slots agree."""

    slots: list[str]
    records: int
    agreements: int
    agreementRate: float | None
    confusion: NotRequired[dict[str, dict[str, int]]]
    differences: dict[str, Any] | None
    disagreement: dict[str, Any]


class Compared(TypedDict):
    """What slots say of the same records, pair by pair."""

    dataType: str
    policy: str
    version: int
    pairs: list[Pair]
    asOf: NotRequired[Moment]


MODELS = Operation("the models that serve", {200: answer("The models.", ModelsOnStage)}, ASKS)
PROCESSORS = Operation(
    "the data types that are served", {200: answer("The data types.", Processors)}, ASKS
)
STATE = Operation("how a data type's models do", {200: answer("Its state.", DataTypeState)}, NAMES)
VERSIONS = Operation("all its versions", {200: answer("The versions.", ModelVersions)}, NAMES)
COMPARE = Operation("how models differ", {200: answer("The pairs of slots.", Compared)}, NAMES)
STATUS = Operation(
    "how the node does",
    {200: answer("The node's status.", NodeStatus)},
    NAMES,
    [Parameter("node", "Another node of the cluster, which is asked by way of this.", ref("Node"))],
)
LIVE = Operation("whether this process runs", {200: answer("It runs.", Running)})
READY = Operation(
    "whether the node is ready for records",
    {
        200: answer("The node is ready.", NodeHealth),
        503: Answer("It is not, and why.", {"application/json": NotReady}, {"Retry-After": "…"}),
    },
)
METRICS = Operation(
    "figures for Prometheus", {200: Answer("Metrics in Prometheus' format.", {"text/plain": TEXT})}
)
EVENTS = Operation(
    "what is, as it changes",
    {200: Answer("Events without end: `look`, `time`, `trouble`.", {"text/event-stream": TEXT})},
    (429, 503),
)
DOCUMENT = Operation(
    "all this, as OpenAPI", {200: answer("An OpenAPI 3.1 document.", dict[str, Any])}
)
DOCUMENTATION = Operation(
    "all this, to read and to try",
    {
        200: Answer("The page.", {"text/html": TEXT}),
        304: Answer("It is as the client has it.", {}),
    },
)
