"""What TensorFlow Serving tells of models over gRPC; it is made for REST, as JSON has it."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from google.protobuf.json_format import ParseDict
from grpc import StatusCode

from repertory.errors import InvalidRequest
from repertory.http.grpc_calls import CallFailed, Context, Method
from repertory.http.grpc_tfs_reply import spec_of
from repertory.http.grpc_tfs_request import path_of
from repertory.http.tfs_models import TfsModels
from repertory.protos.private import tensorflow_serving_pb2 as tfs

SERVICE = "tensorflow.serving.ModelService"
_SIGNATURES = "signature_def"
_NO_RELOAD = (
    "models are published, not configured: POST /models, `repertory publish`, or"
    " inference.GRPCInferenceService/RepositoryModelLoad has one served"
)


class ServingModels:
    """Answers the calls about models."""

    def __init__(self, models: TfsModels) -> None:
        self._models = models

    def methods(self) -> Mapping[str, Method]:
        """Return the methods of the service, by name."""
        return {
            "GetModelStatus": Method(tfs.GetModelStatusRequest, self.status),
            "HandleReloadConfigRequest": Method(tfs.ReloadConfigRequest, self.reload),
        }

    async def status(
        self, asked: tfs.GetModelStatusRequest, _: Context
    ) -> tfs.GetModelStatusResponse:
        """Answer in which state each version is that is named, the newest first."""
        told = await self._models.status_of(path_of(asked))
        return ParseDict(told, tfs.GetModelStatusResponse())

    async def metadata(
        self, asked: tfs.GetModelMetadataRequest, _: Context
    ) -> tfs.GetModelMetadataResponse:
        """Answer what the inputs and the outputs are. It is a call of the other service."""
        path = path_of(asked)
        _check_fields(asked.metadata_field)
        told = await self._models.metadata_of(path)
        signatures = ParseDict(told["metadata"][_SIGNATURES], tfs.SignatureDefMap())
        version = int(told["model_spec"]["version"])
        reply = tfs.GetModelMetadataResponse(model_spec=spec_of(path.model, version, ""))
        reply.metadata[_SIGNATURES].Pack(signatures)
        return reply

    async def reload(self, _: tfs.ReloadConfigRequest, __: Context) -> NoReturn:
        """Refuse: it would replace all that is served."""
        raise CallFailed(StatusCode.UNIMPLEMENTED, _NO_RELOAD)


def _check_fields(fields: Sequence[str]) -> None:
    if not fields:
        raise InvalidRequest("GetModelMetadataRequest must specify at least one metadata_field")
    for each in fields:
        if each != _SIGNATURES:
            raise InvalidRequest(f"Metadata field {each} is not supported; there is: {_SIGNATURES}")
