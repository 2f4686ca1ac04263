"""What the endpoints in `http/publishing.py` and `http/upload.py` take and answer."""

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from repertory.http.openapi.operation import (
    ASKS,
    BYTES,
    COMPONENT,
    JSON_TYPE,
    NAMES,
    READS,
    Body,
    Operation,
    Parameter,
    answer,
)
from repertory.http.openapi.scoring import FLAG
from repertory.journal.lifecycle import ModelState

ModelType = Annotated[
    str, Field(json_schema_extra={"enum": ["ONNX", "PMML", "TENSORFLOW", "TENSORFLOWSAVED"]})
]
DataTypeName = Annotated[str, WithJsonSchema({COMPONENT: "DataTypeName"})]
Base64 = Annotated[str, WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
File = Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})]
Text = Annotated[str, Field(min_length=1)]


class _Described(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    dataType: DataTypeName
    name: Text


class ModelForm(_Described):
    """A model as a form, which is streamed to disk."""

    file: File
    description: NotRequired[str]
    modelType: NotRequired[ModelType]
    signature: NotRequired[str]


class ModelInside(_Described):
    """A model whose content is in the document."""

    data: Base64
    description: NotRequired[str | None]
    modelType: NotRequired[ModelType | None]
    signature: NotRequired[str | None]


class ModelElsewhere(_Described):
    """A model that lies below one of `models.roots`."""

    location: Text
    description: NotRequired[str | None]
    modelType: NotRequired[ModelType | None]
    signature: NotRequired[str | None]


class VersionWanted(TypedDict):
    """A version that is to come back."""

    version: Annotated[int, Field(ge=1)]


class Published(TypedDict):
    """What became of a version."""

    dataType: str
    state: ModelState
    name: NotRequired[str]
    version: NotRequired[int]
    sha256: NotRequired[str]
    reason: NotRequired[str]
    slot: NotRequired[str]


WAIT = Parameter("wait", "Whether to answer only when it is decided.", FLAG)

PUBLISH = Operation(
    "publish a model",
    {
        201: answer("It serves.", Published),
        202: answer("It is on its way, or the policy in force has no slot of its name.", Published),
    },
    (404, 422, *READS, *ASKS),
    [WAIT],
    Body(
        {
            "multipart/form-data": ModelForm,
            JSON_TYPE: ModelInside | ModelElsewhere,
            "application/x-protobuf": BYTES,
        }
    ),
    "The protobuf message is a ModelDescriptor, as on the Kafka topic of models.",
)
RETIRE = Operation(
    "retire a data type's model",
    {
        200: answer("No model of the data type serves any more.", Published),
        202: answer("It is on its way.", Published),
    },
    (422, *NAMES),
)
ROLL_BACK = Operation(
    "serve an old version",
    {
        200: answer("It serves again.", Published),
        202: answer("The policy in force has no slot of its name.", Published),
    },
    (422, *NAMES, *READS),
    body=Body({JSON_TYPE: VersionWanted}, "version"),
)
