"""The messages by which TensorFlow Serving answers."""

from collections.abc import Sequence

import numpy as np

from repertory.errors import InvalidRequest
from repertory.http.grpc_tfs_tensors import tensor_proto
from repertory.http.inference import Inferred
from repertory.http.oip_reply import wanted_outputs
from repertory.http.oip_request import InferRequest
from repertory.http.tfs_reply import classes, numbers
from repertory.http.tfs_request import SIGNATURE
from repertory.protos.private.tensorflow_serving_pb2 import (
    Class,
    ClassificationResult,
    Classifications,
    ModelSpec,
    PredictResponse,
    Regression,
    RegressionResult,
)


def spec_of(name: str, version: int, signature: str = SIGNATURE) -> ModelSpec:
    """Return who answered: the name as it was asked for, and the version that it stands for."""
    spec = ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def predict_message(name: str, request: InferRequest, inferred: Inferred) -> PredictResponse:
    """Return the outputs that are asked for. Raises InvalidRequest for one that is not there."""
    reply = PredictResponse(model_spec=spec_of(name, inferred.model.version))
    for _, tensor in wanted_outputs(request, inferred):
        reply.outputs[tensor.name].CopyFrom(tensor_proto(tensor))
    return reply


def classification(inferred: Inferred) -> ClassificationResult:
    """Return labels and scores of each record. Raises InvalidRequest for a regression."""
    rows = [
        Classifications(classes=[Class(label=label, score=score) for label, score in row])
        for row in classes(inferred)
    ]
    return ClassificationResult(classifications=rows)


def regression(inferred: Inferred) -> RegressionResult:
    """Return the value of each record. Raises InvalidRequest for a classification."""
    values = numbers(inferred)
    _refuse_too_large(values)
    return RegressionResult(regressions=[Regression(value=each) for each in values])


def _refuse_too_large(values: Sequence[float]) -> None:
    largest = float(np.finfo(np.float32).max)
    for row, each in enumerate(values):
        if abs(each) > largest:
            raise InvalidRequest(
                f"record {row}: {each} is more than a Regression can hold: use Predict"
            )
