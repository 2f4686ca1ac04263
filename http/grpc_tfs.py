"""TensorFlow Serving over gRPC: the service `tensorflow.serving.PredictionService`."""

from collections.abc import Mapping, Sequence

from grpc import StatusCode

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import InvalidRequest
from repertory.http.grpc_calls import CallFailed, Context, Method
from repertory.http.grpc_infer import model_metadata
from repertory.http.grpc_tfs_models import ServingModels
from repertory.http.grpc_tfs_reply import classification, predict_message, regression, spec_of
from repertory.http.grpc_tfs_request import Specified, path_of, read_input, read_predict
from repertory.http.inference import Inferred, Target
from repertory.http.routes import Core
from repertory.http.tensors import Tensor
from repertory.http.tfs_models import TfsModels
from repertory.http.tfs_names import Names
from repertory.http.tfs_request import SIGNATURE
from repertory.protos.private import tensorflow_serving_pb2 as tfs

SERVICE = "tensorflow.serving.PredictionService"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class PredictionCalls:
    """Answers the calls of the service."""

    def __init__(self, config: ClusterConfig, router: RouterClient, core: Core) -> None:
        self._seconds = config.http.deadline_ms / 1000
        self._inference = core.inference
        self._names = Names(router, core.inference)
        self.models = ServingModels(TfsModels(router, core.inference, self._names))

    def methods(self) -> Mapping[str, Method]:
        """Return the methods of the service, by name."""
        return {
            "Predict": Method(tfs.PredictRequest, self.predict),
            "Classify": Method(tfs.ClassificationRequest, self.classify),
            "Regress": Method(tfs.RegressionRequest, self.regress),
            "MultiInference": Method(tfs.MultiInferenceRequest, self.multi_inference),
            "GetModelMetadata": Method(tfs.GetModelMetadataRequest, self.models.metadata),
        }

    async def predict(self, asked: tfs.PredictRequest, call: Context) -> tfs.PredictResponse:
        """Answer with all outputs, or with those that are asked for."""
        target = await self._target(asked, StatusCode.FAILED_PRECONDITION)
        request = read_predict(asked)
        inferred = await self._infer(target, request.tensors, call)
        return predict_message(asked.model_spec.name, request, inferred)

    async def classify(
        self, asked: tfs.ClassificationRequest, call: Context
    ) -> tfs.ClassificationResponse:
        """Answer with the classes of each example."""
        inferred = await self._examples(asked, asked.input, call)
        spec = spec_of(asked.model_spec.name, inferred.model.version)
        return tfs.ClassificationResponse(model_spec=spec, result=classification(inferred))

    async def regress(self, asked: tfs.RegressionRequest, call: Context) -> tfs.RegressionResponse:
        """Answer with the value of each example."""
        inferred = await self._examples(asked, asked.input, call)
        spec = spec_of(asked.model_spec.name, inferred.model.version)
        return tfs.RegressionResponse(model_spec=spec, result=regression(inferred))

    async def multi_inference(
        self, asked: tfs.MultiInferenceRequest, call: Context
    ) -> tfs.MultiInferenceResponse:
        """Answer the one task that there can be: there is one signature, and each is asked once."""
        if not asked.tasks:
            raise InvalidRequest("there are no tasks: send one")
        if len(asked.tasks) > 1:
            raise InvalidRequest(
                f"there are {len(asked.tasks)} tasks: send one; there is one signature, {SIGNATURE}"
            )
        (task,) = asked.tasks
        if task.method_name not in (CLASSIFY, REGRESS):
            why = f"Unsupported signature method_name: {task.method_name}; there are: {CLASSIFY}, {REGRESS}"
            raise CallFailed(StatusCode.UNIMPLEMENTED, why)
        inferred = await self._examples(task, asked.input, call)
        result = tfs.InferenceResult(
            model_spec=spec_of(task.model_spec.name, inferred.model.version)
        )
        if task.method_name == CLASSIFY:
            result.classification_result.CopyFrom(classification(inferred))
        else:
            result.regression_result.CopyFrom(regression(inferred))
        return tfs.MultiInferenceResponse(results=[result])

    async def _examples(self, asked: Specified, given: tfs.Input, call: Context) -> Inferred:
        target = await self._target(asked, StatusCode.INVALID_ARGUMENT)
        return await self._infer(target, read_input(given, target.signature), call)

    async def _target(self, asked: Specified, no_signature: StatusCode) -> Target:
        """Return who is to score; the status without such a signature is one of the call's own."""
        target = await self._names.target(path_of(asked))
        if (name := asked.model_spec.signature_name) not in ("", SIGNATURE):
            why = f'Serving signature key "{name}" not found; there is: {SIGNATURE}'
            raise CallFailed(no_signature, why)
        return target

    async def _infer(self, target: Target, tensors: Sequence[Tensor], call: Context) -> Inferred:
        left = call.time_remaining()
        seconds = self._seconds if left is None else min(self._seconds, left)
        inferred = await self._inference.infer(target, tensors, seconds=seconds)
        call.set_trailing_metadata(model_metadata(inferred))
        return inferred
