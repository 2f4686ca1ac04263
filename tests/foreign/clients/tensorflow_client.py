"""What a user of tensorflow-serving-api does: `tensorflow_client.py GRPC_ADDRESS OUR_SOURCE`."""

# mypy: ignore-errors
# Its imports are in clients/tensorflow.txt.

import importlib
import json
import sys
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.descriptor_pool import Default
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

FEATURES = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)
WINES = np.array(
    [
        [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4],
        [10.3, 0.32, 0.45, 6.4, 0.073, 5, 13, 0.9976, 3.23, 0.82, 12.6],
    ],
    np.float32,
)
SECONDS = 20
PUBLISHED = {
    **prediction_service_pb2.DESCRIPTOR.services_by_name,
    **model_service_pb2.DESCRIPTOR.services_by_name,
}


def told(reply: Any) -> dict[str, Any]:
    """Return what a reply of Predict says, read as everybody reads it."""
    found = {name: tf.make_ndarray(each).tolist() for name, each in reply.outputs.items()}
    found |= {"label": [each.decode() for each in found["label"]]} if "label" in found else {}
    spec = reply.model_spec
    return {"version": spec.version.value, "signature": spec.signature_name, **found}


def asked(message: Any, name: str = "wine") -> Any:
    message.model_spec.name = name
    return message


def inputs(name: str) -> dict[str, Any]:
    """Return wines in one of the forms in which they can be sent."""
    if name == "tensor_content":
        sent = {"wines": tf.make_tensor_proto(WINES)}
        assert sent["wines"].tensor_content
    elif name == "typed":
        sent = {"wines": tf.make_tensor_proto(WINES.tolist(), dtype=tf.float64)}
        sent["wines"].tensor_content = b""
        sent["wines"].double_val.extend(WINES.ravel().tolist())
    elif name == "half":
        sent = {"wines": tf.make_tensor_proto(WINES.astype(np.float16))}
    else:
        sent = dict(zip(FEATURES, map(tf.make_tensor_proto, WINES.T), strict=True))
    return sent


def predictions(service: Any) -> dict[str, Any]:
    seen = {}
    for form in ("tensor_content", "typed", "half", "columns"):
        request = asked(predict_pb2.PredictRequest())
        for name, tensor in inputs(form).items():
            request.inputs[name].CopyFrom(tensor)
        seen[form] = told(service.Predict(request, SECONDS))
    request.output_filter.append("label")
    request.model_spec.version.value = 1
    seen["filtered"] = told(service.Predict(request, SECONDS))
    request = asked(predict_pb2.PredictRequest())
    same = tf.make_tensor_proto(5.0, shape=[3, len(FEATURES)])
    assert len(same.float_val) == 1
    request.inputs["wines"].CopyFrom(same)
    seen["all the same"] = told(service.Predict(request, SECONDS))
    return seen


def examples(message: Any) -> Any:
    for wine in WINES:
        example = message.input.example_list.examples.add()
        for name, number in zip(FEATURES, wine, strict=True):
            example.features.feature[name].float_list.value.append(number)
    return message


def examples_scored(service: Any) -> dict[str, Any]:
    request = examples(asked(classification_pb2.ClassificationRequest()))
    reply = service.Classify(request, SECONDS)
    rows = [
        {each.label: each.score for each in row.classes} for row in reply.result.classifications
    ]
    request = examples(asked(regression_pb2.RegressionRequest(), "grade"))
    numbers = service.Regress(request, SECONDS).result.regressions
    request = examples(inference_pb2.MultiInferenceRequest())
    task = request.tasks.add(method_name=tf.saved_model.CLASSIFY_METHOD_NAME)
    task.model_spec.name = "wine"
    (result,) = service.MultiInference(request, SECONDS).results
    return {
        "classes": rows,
        "values": [each.value for each in numbers],
        "multi": result.classification_result == reply.result,
    }


def models(service: Any, other: Any) -> dict[str, Any]:
    request = asked(get_model_metadata_pb2.GetModelMetadataRequest())
    request.metadata_field.append("signature_def")
    reply = service.GetModelMetadata(request, SECONDS)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(signatures)
    request = asked(get_model_status_pb2.GetModelStatusRequest())
    return {
        "metadata": MessageToDict(signatures)["signatureDef"]["serving_default"],
        "version": reply.model_spec.version.value,
        "status": MessageToDict(other.GetModelStatus(request, SECONDS)),
    }


def refusals(service: Any, other: Any) -> dict[str, str]:
    beer = asked(predict_pb2.PredictRequest(), "beer")
    seen = {}
    for name, method, request in (
        ("beer", service.Predict, beer),
        ("nothing", service.Predict, predict_pb2.PredictRequest()),
        ("reload", other.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ):
        try:
            method(request, SECONDS)
        except grpc.RpcError as error:
            seen[name] = f"{error.code().name}: {error.details()}"
    return seen


def differences(source: str) -> list[str]:
    """Return where our messages, in the same process, are others than those that are published."""
    sys.path.insert(0, source)
    found = []
    for name in ("tensorflow_pb2", "tensorflow_serving_pb2"):
        ours = importlib.import_module(f"repertory.protos.private.{name}").DESCRIPTOR
        for message in ours.message_types_by_name.values():
            theirs = Default().FindMessageTypeByName(message.full_name)
            assert theirs is not message
            found += [
                field.full_name
                for field in message.fields
                if not _same(field, theirs.fields_by_name[field.name])
            ]
        for service in ours.services_by_name.values():
            theirs = PUBLISHED[service.name]
            if _methods(service) != _methods(theirs):
                found.append(service.full_name)
    return found


def _methods(service: Any) -> dict[str, tuple[str, str]]:
    return {
        each.name: (each.input_type.full_name, each.output_type.full_name)
        for each in service.methods
    }


def _same(ours: Any, theirs: Any) -> bool:
    """Return whether a field is the published one; its enum may have more values."""
    return _of(ours) == _of(theirs) and _values(ours).items() <= _values(theirs).items()


def _of(field: Any) -> tuple[Any, ...]:
    kind, oneof = field.message_type or field.enum_type, field.containing_oneof
    names = kind and kind.full_name, oneof and oneof.name
    return field.number, field.type, field.is_repeated, *names


def _values(field: Any) -> dict[str, int]:
    return {each.name: each.number for each in field.enum_type.values} if field.enum_type else {}


def main(address: str, source: str) -> dict[str, Any]:
    with grpc.insecure_channel(address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        other = model_service_pb2_grpc.ModelServiceStub(channel)
        return {
            "predict": predictions(service),
            "examples": examples_scored(service),
            "models": models(service, other),
            "refused": refusals(service, other),
            "differences": differences(source),
        }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
