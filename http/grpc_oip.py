"""The Open Inference Protocol over gRPC: the service `inference.GRPCInferenceService`."""

from collections.abc import Mapping

import repertory
from repertory.config import ClusterConfig
from repertory.http.grpc_calls import Context, Method, failure
from repertory.http.grpc_infer import infer_message, model_metadata, read_infer
from repertory.http.inference import Inferred
from repertory.http.routes import Core
from repertory.protos.private import oip_pb2 as oip

SERVICE = "inference.GRPCInferenceService"
EXTENSIONS = ("model_repository", "model_configuration", "statistics")
# A stream's reply says so, to those who ask: each of ours is the only one to its request.
_FINAL = "triton_final_response"


class OpenInferenceCalls:
    """Answers the calls of the service."""

    def __init__(self, config: ClusterConfig, core: Core) -> None:
        self._seconds = config.http.deadline_ms / 1000
        self._core = core

    def methods(self) -> Mapping[str, Method]:
        """Return the methods of the service, by name."""
        return {
            "ServerLive": Method(oip.ServerLiveRequest, self.live),
            "ServerReady": Method(oip.ServerReadyRequest, self.ready),
            "ServerMetadata": Method(oip.ServerMetadataRequest, self.server),
            "ModelInfer": Method(oip.ModelInferRequest, self.infer),
            "ModelStreamInfer": Method(oip.ModelInferRequest, self.stream_infer, streams=True),
        }

    async def live(self, _: oip.ServerLiveRequest, __: Context) -> oip.ServerLiveResponse:
        """Answer that this process runs."""
        return oip.ServerLiveResponse(live=True)

    async def ready(self, _: oip.ServerReadyRequest, __: Context) -> oip.ServerReadyResponse:
        """Answer whether the node can do all that it is configured to do."""
        return oip.ServerReadyResponse(ready=await self._core.health.is_ready())

    async def server(self, _: oip.ServerMetadataRequest, __: Context) -> oip.ServerMetadataResponse:
        """Answer who this is, and which extensions are here."""
        version = repertory.__version__
        return oip.ServerMetadataResponse(name="repertory", version=version, extensions=EXTENSIONS)

    async def infer(self, message: oip.ModelInferRequest, call: Context) -> oip.ModelInferResponse:
        """Answer with the outputs for all records, of one model version."""
        inferred, reply = await self._infer(message, call)
        call.set_trailing_metadata(model_metadata(inferred))
        return reply

    async def stream_infer(
        self, message: oip.ModelInferRequest, call: Context
    ) -> oip.ModelStreamInferResponse:
        """Answer one request of a stream; what fails is told in its reply, and the stream goes on."""
        try:
            _, reply = await self._infer(message, call)
        except Exception as error:  # noqa: BLE001 - the border of a request; the client is told
            told = failure(error, f"{SERVICE}/ModelStreamInfer").message
            reply = oip.ModelInferResponse(model_name=message.model_name, id=message.id)
            return oip.ModelStreamInferResponse(error_message=told, infer_response=reply)
        reply.parameters[_FINAL].bool_param = True
        return oip.ModelStreamInferResponse(infer_response=reply)

    async def _infer(
        self, message: oip.ModelInferRequest, call: Context
    ) -> tuple[Inferred, oip.ModelInferResponse]:
        name = message.model_name
        target = await self._core.inference.target(name, message.model_version)
        request = read_infer(message)
        # A stream's deadline is that of all of its requests, and may be hours away.
        limits = (self._seconds, request.seconds, call.time_remaining())
        seconds = min(each for each in limits if each is not None)
        inferred = await self._core.inference.infer(target, request.tensors, seconds=seconds)
        return inferred, infer_message(name, request, inferred)
