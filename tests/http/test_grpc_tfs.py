"""TensorFlow Serving's services over gRPC, of a node that runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.http.security_world import World

from repertory.errors import InvalidRequest
from repertory.http.inference import Inference
from repertory.protos.private import tensorflow_pb2 as tf
from repertory.protos.private import tensorflow_serving_pb2 as tfs

PREDICTION, MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
METHODS = {
    method.name: (service.full_name, method)
    for service in tfs.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
FEATURES = 11
INVALID = StatusCode.INVALID_ARGUMENT

Wine = Callable[[float], dict[str, float]]
Send = Callable[..., Awaitable[tuple[Any, Any]]]


@pytest.fixture
def send(channel: grpc.aio.Channel) -> Send:
    """Call a method by its name; the reply, and the call for what is beside it."""

    async def ask(name: str, request: Message | bytes) -> tuple[Any, Any]:
        service, method = METHODS[name]
        content = request if isinstance(request, bytes) else request.SerializeToString()
        multicallable: Any = channel.unary_unary(f"/{service}/{name}")
        call = multicallable(content, timeout=20)
        reply = await call
        return getattr(tfs, method.output_type.name).FromString(reply), call

    return ask


@pytest.fixture
async def forest(serving: Any, publish: Any, wine_models: Path) -> Any:
    """Have a classification serve; the reply to its publisher."""
    assert serving  # what the address waits for comes before
    content = (wine_models / "02-random-forest.onnx").read_bytes()
    reply = await publish(content, name="forest")
    assert reply.status == 201
    return reply.body


def spec_of(name: str = "wine", version: int | None = None, **about: Any) -> tfs.ModelSpec:
    spec = tfs.ModelSpec(name=name, **about)
    if version is not None:
        spec.version.value = version
    return spec


def tensor(*sizes: int, dtype: Any = "DT_FLOAT", **elements: Any) -> tf.TensorProto:
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=size) for size in sizes])
    return tf.TensorProto(dtype=dtype, tensor_shape=shape, **elements)


def wines(*alcohols: float) -> tf.TensorProto:
    values = [number for each in alcohols for number in [1.0] * 10 + [each]]
    return tensor(len(alcohols), FEATURES, float_val=values)


def predict(*alcohols: float, spec: Any = None, **about: Any) -> tfs.PredictRequest:
    due: dict[str, Any] = {"model_spec": spec or spec_of(), "inputs": {"x": wines(*alcohols)}}
    return tfs.PredictRequest(**(due | about))


def example(record: dict[str, float]) -> tf.Example:
    lists = {name: tf.FloatList(value=[number]) for name, number in record.items()}
    features = {name: tf.Feature(float_list=each) for name, each in lists.items()}
    return tf.Example(features=tf.Features(feature=features))


def examples(*records: dict[str, float]) -> tfs.Input:
    return tfs.Input(example_list=tfs.ExampleList(examples=[example(each) for each in records]))


def values_of(reply: tfs.PredictResponse) -> list[float]:
    return list(reply.outputs["value"].double_val)


async def refusal(asking: Any) -> tuple[StatusCode, str]:
    """Return the status that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    return raised.value.code(), raised.value.details() or ""


async def test_a_reply_has_typed_values_and_the_version_that_answered(
    send: Send, serving: Any
) -> None:
    reply, call = await send("Predict", predict(3, 5))
    assert values_of(reply) == [3, 5]
    output = reply.outputs["value"]
    assert (output.dtype, [each.size for each in output.tensor_shape.dim]) == (tf.DT_DOUBLE, [2])
    assert reply.model_spec == spec_of("wine", serving["version"], signature_name="serving_default")
    metadata = dict(await call.trailing_metadata())
    assert metadata["x-repertory-sha256"] == serving["sha256"]
    assert metadata["x-repertory-version"] == str(serving["version"])


async def test_each_feature_may_be_an_input(send: Send, wine: Wine) -> None:
    inputs = {name: tensor(2, float_val=[1]) for name in wine(0)}
    inputs["alcohol"] = tensor(2, 1, dtype="DT_INT64", int64_val=[3, 5])
    reply, _ = await send("Predict", predict(inputs=inputs))
    assert values_of(reply) == [3, 5]


async def test_names_versions_and_labels_all_lead_to_what_serves(send: Send, serving: Any) -> None:
    for spec in (
        spec_of("test"),
        spec_of(version=serving["version"]),
        spec_of(version_label="stable", signature_name="serving_default"),
    ):
        reply, _ = await send("Predict", predict(4, spec=spec))
        assert values_of(reply) == [4]
        assert reply.model_spec.name == spec.name
        assert reply.model_spec.version.value == serving["version"]


@pytest.mark.usefixtures("forest")
async def test_a_filter_leaves_the_outputs_that_are_asked_for(send: Send) -> None:
    every, _ = await send("Predict", predict(9))
    assert set(every.outputs) == {"label", "probabilities"}
    some, _ = await send("Predict", predict(9, output_filter=["label"]))
    assert dict(some.outputs) == {"label": every.outputs["label"]}


@pytest.mark.usefixtures("forest")
async def test_classify_has_labels_and_scores_in_the_order_of_the_classes(
    send: Send, call: Any, wine: Wine
) -> None:
    scored = (await call("POST", "/score/wine", json=wine(9))).body["results"]
    request = tfs.ClassificationRequest(model_spec=spec_of(), input=examples(wine(9), wine(14)))
    reply, _ = await send("Classify", request)
    first, _ = reply.result.classifications
    found = {each.label: each.score for each in first.classes}
    assert found == pytest.approx(scored[0]["probabilities"])
    assert [*found] == [*scored[0]["probabilities"]]


async def test_regress_takes_examples_and_a_context(send: Send, serving: Any, wine: Wine) -> None:
    context = wine(0)
    del context["alcohol"]
    rows = [example({"alcohol": each}) for each in (9, 10.5)]
    both = tfs.ExampleListWithContext(examples=rows, context=example(context))
    given_ = tfs.Input(example_list_with_context=both)
    reply, sent = await send("Regress", tfs.RegressionRequest(model_spec=spec_of(), input=given_))
    assert [each.value for each in reply.result.regressions] == [9, 10.5]
    assert reply.model_spec.version.value == serving["version"]
    assert dict(await sent.trailing_metadata())["x-repertory-model"] == serving["name"]


async def test_one_task_of_a_multi_inference_is_answered(send: Send, wine: Wine) -> None:
    task = tfs.InferenceTask(model_spec=spec_of(), method_name="tensorflow/serving/regress")
    request = tfs.MultiInferenceRequest(tasks=[task], input=examples(wine(9)))
    reply, _ = await send("MultiInference", request)
    (result,) = reply.results
    assert [each.value for each in result.regression_result.regressions] == [9]
    assert (await refusal(send("MultiInference", tfs.MultiInferenceRequest())))[0] is INVALID
    request.tasks.append(task)
    assert "one signature" in (await refusal(send("MultiInference", request)))[1]
    request = tfs.MultiInferenceRequest(tasks=[tfs.InferenceTask(method_name="guess")])
    assert (await refusal(send("MultiInference", request)))[0] is StatusCode.UNIMPLEMENTED


async def test_the_metadata_has_the_inputs_and_the_outputs(
    send: Send, serving: Any, wine: Wine
) -> None:
    await send("Predict", predict(1))
    request = tfs.GetModelMetadataRequest(model_spec=spec_of(), metadata_field=["signature_def"])
    reply, _ = await send("GetModelMetadata", request)
    assert reply.model_spec == spec_of("wine", serving["version"])
    found = tfs.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert set(signature.inputs) == set(wine(0))
    assert signature.inputs["alcohol"] == signature.inputs["alcohol"].__class__(
        name="alcohol:0", dtype="DT_DOUBLE", tensor_shape=tensor(-1).tensor_shape
    )
    assert set(signature.outputs) == {"value"}


async def test_the_status_has_every_version_the_newest_first(
    send: Send, publish: Any, serving: Any
) -> None:
    rejected = (await publish(b"nothing", modelType="onnx")).body
    reply, _ = await send("GetModelStatus", tfs.GetModelStatusRequest(model_spec=spec_of()))
    newest, former, *_ = reply.model_version_status
    assert (newest.version, newest.state) == (rejected["version"], newest.END)
    assert (newest.status.error_code, newest.status.error_message) == (3, rejected["reason"])
    assert (former.version, former.state) == (serving["version"], former.AVAILABLE)
    assert former.status.error_code == 0


async def test_a_configuration_is_not_reloaded_and_why_is_told(send: Send) -> None:
    status, why = await refusal(send("HandleReloadConfigRequest", tfs.ReloadConfigRequest()))
    assert (status, "repertory publish" in why) == (StatusCode.UNIMPLEMENTED, True)


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        ({"model_spec": None}, INVALID, "Missing ModelSpec"),
        ({"model_spec": tfs.ModelSpec()}, INVALID, "ModelSpec has no name specified."),
        ({"spec": spec_of("half")}, StatusCode.NOT_FOUND, "request: Latest(half)"),
        ({"spec": spec_of(version=-1)}, StatusCode.NOT_FOUND, "request: Specific(wine, -1)"),
        ({"spec": spec_of(version_label="canary")}, INVALID, "version label: canary"),
        ({"spec": spec_of("cider")}, StatusCode.UNAVAILABLE, "cider"),
        (
            {"spec": spec_of(signature_name="x")},
            StatusCode.FAILED_PRECONDITION,
            'Serving signature key "x" not found',
        ),
        ({"output_filter": ["colour"]}, INVALID, "colour"),
        ({"output_filter": ["label"]}, INVALID, "gives no output"),
        ({"output_filter": ["value"] * 2}, INVALID, "duplicate output tensor alias: value"),
        ({"inputs": {}}, INVALID, "inputs is empty"),
        ({"inputs": {"a": wines(1), "b": wines(1)}}, INVALID, "there is no input"),
        ({"inputs": {"x": tensor(2, 11, tensor_content=b"1234")}}, INVALID, "needs 22"),
        ({"inputs": {"x": tensor(10**9, 11, float_val=[1])}}, INVALID, "has 1 elements"),
        ({"inputs": {"x": tensor(1, 11, float_val=[float("inf")])}}, INVALID, "record 0"),
    ],
)
async def test_what_cannot_be_answered_has_a_status(
    send: Send, request_: dict[str, Any], status: StatusCode, why: str
) -> None:
    found, details = await refusal(send("Predict", predict(1, **request_)))
    assert (found, why in details) == (status, True), details


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (tf.Feature(bytes_list=tf.BytesList(value=[b"1"])), "examples[0]: 'pH' is a bytes_list"),
        (tf.Feature(float_list=tf.FloatList(value=[1, 2])), "'pH'"),
        (tf.Feature(float_list=tf.FloatList(value=[float("inf")])), "beyond what FP64"),
        (tf.Feature(), "pH is missing"),
    ],
)
async def test_an_example_that_is_no_record_is_refused(
    send: Send, wine: Wine, feature: tf.Feature, why: str
) -> None:
    given_ = examples(wine(9))
    given_.example_list.examples[0].features.feature["pH"].CopyFrom(feature)
    request = tfs.RegressionRequest(model_spec=spec_of(), input=given_)
    status, details = await refusal(send("Regress", request))
    assert (status, why in details) == (INVALID, True), details


@pytest.mark.parametrize("name", ["Classify", "Regress"])
async def test_no_examples_are_refused(send: Send, name: str) -> None:
    request = tfs.ClassificationRequest(model_spec=spec_of())
    assert await refusal(send(name, request)) == (INVALID, "Input is empty")


async def test_numbers_are_no_classes(send: Send, wine: Wine) -> None:
    request = tfs.ClassificationRequest(model_spec=spec_of(), input=examples(wine(9)))
    status, why = await refusal(send("Classify", request))
    assert (status, "use regress" in why) == (INVALID, True)


@pytest.mark.usefixtures("forest")
async def test_classes_are_no_numbers(send: Send, wine: Wine) -> None:
    request = tfs.RegressionRequest(model_spec=spec_of(), input=examples(wine(9)))
    status, why = await refusal(send("Regress", request))
    assert (status, "use classify" in why) == (INVALID, True)


async def test_the_shorter_of_two_deadlines_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell(*_: Any, seconds: float) -> NoReturn:
        raise InvalidRequest(str(seconds))

    monkeypatch.setattr(Inference, "infer", tell)
    world, content = World(tmp_path, deadline_ms=9000), predict(1).SerializeToString()
    async with grpc.aio.insecure_channel(await world.grpc()) as channel:
        method: Any = channel.unary_unary(f"/{PREDICTION}/Predict")
        told = [float((await refusal(method(content, timeout=t)))[1]) for t in (5, 60, None)]
    await world.close()
    assert 0 < told[0] < 6  # gRPC itself rounds up
    assert told[1:] == [9, 9]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (tfs.GetModelMetadataRequest(), "Missing ModelSpec"),
        (tfs.GetModelMetadataRequest(model_spec=spec_of()), "at least one metadata_field"),
        (
            tfs.GetModelMetadataRequest(model_spec=spec_of(), metadata_field=["assets"]),
            "Metadata field assets is not supported",
        ),
    ],
)
async def test_metadata_that_are_not_there_are_refused(
    send: Send, request_: Message, why: str
) -> None:
    status, details = await refusal(send("GetModelMetadata", request_))
    assert (status, why in details) == (INVALID, True)


@pytest.mark.parametrize(
    ("spec", "status", "why"),
    [
        (None, INVALID, "Missing ModelSpec"),
        (spec_of("half"), StatusCode.NOT_FOUND, "Could not find any versions of model half"),
        (spec_of(version=999), StatusCode.NOT_FOUND, "Could not find version 999 of model wine"),
        (spec_of(version_label="canary"), INVALID, "version label: canary"),
    ],
)
async def test_what_is_not_there_has_no_status(
    send: Send, spec: Any, status: StatusCode, why: str
) -> None:
    request = tfs.GetModelStatusRequest(model_spec=spec)
    assert await refusal(send("GetModelStatus", request)) == (
        status,
        f"Unrecognized servable {why}" if "label" in why else why,
    )


async def test_health_and_reflection_know_both_services(
    channel: grpc.aio.Channel, address: str
) -> None:
    health: Any = HealthStub(channel)
    for service in (PREDICTION, MODELS):
        reply = await health.Check(HealthCheckRequest(service=service))
        assert reply.status == HealthCheckResponse.SERVING
    with grpc.insecure_channel(address) as found:
        database = ProtoReflectionDescriptorDatabase(found)
        assert {PREDICTION, MODELS} <= set(database.get_services())
        pool = DescriptorPool(database)
        methods = pool.FindServiceByName(PREDICTION).methods_by_name
        assert methods["Predict"].input_type.full_name == "tensorflow.serving.PredictRequest"
        assert pool.FindMessageTypeByName("tensorflow.TensorProto").fields_by_name["dtype"]


_NAMES = st.sampled_from(["wine", "test", "cider", "alcohol", "x", "", "\0"])
_SHAPES = st.lists(st.sampled_from([0, 1, 2, 11, -1, 2**40]), max_size=3)
_SPECS = st.builds(spec_of, _NAMES, st.none() | st.integers(-(2**63), 2**63 - 1)) | st.builds(
    lambda name, label: spec_of(name, version_label=label), _NAMES, st.text(max_size=4)
)
_NUMBERS = st.lists(st.floats(width=32), max_size=11)
_TENSORS = st.builds(
    lambda sizes, dtype, numbers: tensor(*sizes, dtype=dtype, float_val=numbers),
    _SHAPES,
    st.sampled_from([0, 1, 2, 7, 19, 99]),
    _NUMBERS,
) | st.builds(
    lambda sizes, dtype, content: tensor(*sizes, dtype=dtype, tensor_content=content),
    _SHAPES,
    st.sampled_from([1, 3, 7, 10, 14]),
    st.binary(max_size=48),
)
_PREDICTS = st.builds(
    lambda spec, inputs: tfs.PredictRequest(model_spec=spec, inputs=inputs),
    _SPECS,
    st.dictionaries(_NAMES, _TENSORS, max_size=2),
)
_FEATURES = st.builds(lambda each: tf.Feature(float_list=tf.FloatList(value=each)), _NUMBERS)
_TEXTS = st.binary(max_size=4).map(lambda each: tf.Feature(bytes_list={"value": [each]}))
_EXAMPLES = st.dictionaries(_NAMES, _FEATURES | _TEXTS | st.just(tf.Feature()), max_size=3).map(
    lambda each: tf.Example(features=tf.Features(feature=each))
)
_REGRESSIONS = st.builds(
    lambda spec, rows, context: tfs.RegressionRequest(
        model_spec=spec,
        input={"example_list_with_context": {"examples": rows, "context": context}},
    ),
    _SPECS,
    st.lists(_EXAMPLES, max_size=3),
    _EXAMPLES,
)
_STATUSES = st.builds(lambda spec: tfs.GetModelStatusRequest(model_spec=spec), _SPECS)
_CLIENTS_FAULT = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.UNIMPLEMENTED,
    StatusCode.UNAVAILABLE,  # nobody publishes a model for cider
}


@given(
    asked=st.tuples(st.just("Predict"), _PREDICTS)
    | st.tuples(st.sampled_from(["Regress", "Classify"]), _REGRESSIONS)
    | st.tuples(st.just("GetModelStatus"), _STATUSES)
    | st.tuples(st.sampled_from(sorted(METHODS)), st.binary(max_size=40)),
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
async def test_garbage_is_the_clients_fault(send: Send, asked: tuple[str, Any]) -> None:
    why: grpc.aio.AioRpcError | None = None
    try:
        await send(*asked)
    except grpc.aio.AioRpcError as error:
        why = error
    assert why is None or why.code() in _CLIENTS_FAULT
