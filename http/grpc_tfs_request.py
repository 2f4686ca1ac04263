"""What the messages of TensorFlow Serving ask for.

Source: server_core.cc, predict_util.cc and input.proto of tensorflow/serving.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from repertory.errors import InvalidRequest
from repertory.http.grpc_tfs_tensors import read_inputs
from repertory.http.oip_reply import check_outputs
from repertory.http.oip_request import InferRequest, Wanted
from repertory.http.signature import Signature
from repertory.http.tensors import BYTES, Tensor
from repertory.http.tfs_names import Path
from repertory.http.tfs_request import CONTEXT, EXAMPLES, example_tensors
from repertory.protos.private.tensorflow_pb2 import Example, Feature
from repertory.protos.private.tensorflow_serving_pb2 import Input, ModelSpec, PredictRequest

_BOOLS: Mapping[int, bool] = {0: False, 1: True}


class Specified(Protocol):
    """A message that says which model it is for."""

    @property
    def model_spec(self) -> ModelSpec:
        """The model."""

    def HasField(self, field_name: Any) -> bool:
        """Return whether a field is there."""


def path_of(message: Specified) -> Path:
    """Return the model, and its version or its label, that a message names. Raises InvalidRequest."""
    if not message.HasField("model_spec"):
        raise InvalidRequest("Missing ModelSpec")
    spec = message.model_spec
    if not spec.name:
        raise InvalidRequest("ModelSpec has no name specified.")
    version = str(spec.version.value) if spec.HasField("version") else ""
    return Path(spec.name, version, spec.version_label)


def read_predict(message: PredictRequest) -> InferRequest:
    """Return what a `Predict` asks for. Raises InvalidRequest, naming what is wrong."""
    wanted = list(message.output_filter)
    if doubled := sorted({each for each in wanted if wanted.count(each) > 1}):
        raise InvalidRequest(f"duplicate output tensor alias: {', '.join(doubled)}")
    request = InferRequest((), outputs=tuple(Wanted(each, binary=False) for each in wanted))
    check_outputs(request)
    return InferRequest(read_inputs(message.inputs), outputs=request.outputs)


def read_input(given: Input, signature: Signature) -> tuple[Tensor, ...]:
    """Return the tensors of a `Classify` or `Regress`. Raises InvalidRequest, naming the place."""
    datatypes = {each.name: each.datatype for each in signature.inputs}
    both = given.example_list_with_context  # empty if it is not there, as the other one is
    examples = [*given.example_list.examples, *both.examples]
    rows = [_features(each, datatypes, f"{EXAMPLES}[{row}]") for row, each in enumerate(examples)]
    if not rows:
        raise InvalidRequest("Input is empty")
    return example_tensors(rows, _features(both.context, datatypes, CONTEXT), signature)


def _features(example: Example, datatypes: Mapping[str, str], place: str) -> dict[str, list[Any]]:
    """Return the features that have values, as JSON has them."""
    return {
        name: _elements(feature, datatypes.get(name, ""), f"{place}: {name!r}")
        for name, feature in example.features.feature.items()
        if feature.WhichOneof("kind")
    }


def _elements(feature: Feature, datatype: str, place: str) -> list[Any]:
    elements = list(getattr(feature, feature.WhichOneof("kind") or "").value)
    if feature.HasField("bytes_list"):
        if datatype != BYTES:
            raise InvalidRequest(f"{place} is a bytes_list; the feature is not of texts")
        return [_text(each, place) for each in elements]
    # An example has no list of truth values.
    if datatype == "BOOL" and feature.HasField("int64_list") and set(elements) <= set(_BOOLS):
        return [_BOOLS[each] for each in elements]
    return elements


def _text(element: bytes, place: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{place} is not UTF-8: {error}") from None
