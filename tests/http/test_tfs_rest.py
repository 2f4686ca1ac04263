"""TensorFlow Serving's REST API, of a node that runs."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repertory.actors.local_node import LocalNode

MODEL = "/v1/models/wine"
Wine = Callable[[float], dict[str, float]]


@pytest.fixture
async def forest(publish: Any, wine_models: Path) -> Any:
    """Have a classification serve; the reply to its publisher."""
    content = (wine_models / "02-random-forest.onnx").read_bytes()
    reply = await publish(content, name="forest")
    assert reply.status == 201
    return reply.body


async def test_rows_are_answered_by_row_and_columns_by_column(
    call: Any, serving: Any, wine: Wine
) -> None:
    rows = [wine(9), wine(10.5)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_row = await call("POST", f"{MODEL}:predict", json={"instances": rows})
    by_column = await call("POST", f"{MODEL}:predict", json={"inputs": columns})
    assert (by_row.status, by_row.body) == (200, {"predictions": [9.0, 10.5]})
    assert (by_column.status, by_column.body) == (200, {"outputs": [9.0, 10.5]})


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(("key", "answer"), [("instances", "predictions"), ("inputs", "outputs")])
async def test_a_matrix_of_all_features_needs_no_names(
    call: Any, wine: Wine, key: str, answer: str
) -> None:
    matrix = [list(wine(alcohol).values()) for alcohol in (9, 10.5)]
    reply = await call("POST", f"{MODEL}:predict", json={key: matrix})
    assert reply.body == {answer: [9.0, 10.5]}


async def test_a_reply_says_which_version_it_is_of(call: Any, serving: Any, wine: Wine) -> None:
    for verb, key in (("predict", "instances"), ("regress", "examples")):
        reply = await call("POST", f"{MODEL}:{verb}", json={key: [wine(9)]})
        found = [reply.headers[f"X-Repertory-{each}"] for each in ("Model", "Version", "Sha256")]
        assert found == [serving["name"], str(serving["version"]), serving["sha256"]]


async def test_names_versions_and_labels_all_lead_to_what_serves(
    call: Any, serving: Any, wine: Wine
) -> None:
    version = serving["version"]
    for path in ("wine", "test", f"wine/versions/{version}", "wine/labels/stable"):
        reply = await call("POST", f"/v1/models/{path}:predict", json={"instances": [wine(9)]})
        assert reply.body == {"predictions": [9.0]}


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("half", 404, "Servable not found for request: Latest(half)"),
        ("wine/versions/999999", 404, "Servable not found for request: Specific(wine, 999999)"),
        (
            "wine/versions/" + "9" * 40,
            404,
            f"Servable not found for request: Specific(wine, {'9' * 40})",
        ),
        ("wine/labels/canary", 400, "Unrecognized servable version label: canary"),
        ("cider", 503, None),
    ],
)
async def test_who_cannot_answer_is_told_as_tensorflow_serving_does(
    call: Any, wine: Wine, path: str, status: int, error: str | None
) -> None:
    reply = await call("POST", f"/v1/models/{path}:predict", json={"instances": [wine(9)]})
    assert (reply.status, set(reply.body)) == (status, {"error"})
    assert error in (None, reply.body["error"])


@pytest.mark.usefixtures("forest")
async def test_classes_are_objects_by_row_and_columns_by_column(call: Any, wine: Wine) -> None:
    rows = [wine(9), wine(14)]
    by_row = (await call("POST", f"{MODEL}:predict", json={"instances": rows})).body["predictions"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_column = (await call("POST", f"{MODEL}:predict", json={"inputs": columns})).body["outputs"]
    assert by_column == {key: [row[key] for row in by_row] for key in ("label", "probabilities")}
    assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in by_row)


@pytest.mark.usefixtures("forest")
async def test_classify_pairs_labels_and_scores_in_the_order_of_the_classes(
    call: Any, wine: Wine
) -> None:
    scored = (await call("POST", "/score/wine", json=wine(9))).body["results"]
    reply = await call("POST", f"{MODEL}:classify", json={"examples": [wine(9)]})
    assert reply.body == {"results": [[[*each] for each in scored[0]["probabilities"].items()]]}


@pytest.mark.usefixtures("serving")
async def test_regress_takes_examples_and_a_context(call: Any, wine: Wine) -> None:
    context = wine(9)
    examples = [{"alcohol": context.pop("alcohol")}, {"alcohol": [10.5]}]
    body = {"signature_name": "serving_default", "context": context, "examples": examples}
    assert (await call("POST", f"{MODEL}:regress", json=body)).body == {"results": [9.0, 10.5]}


@pytest.mark.usefixtures("serving")
async def test_numbers_are_no_classes(call: Any, wine: Wine) -> None:
    reply = await call("POST", f"{MODEL}:classify", json={"examples": [wine(9)]})
    assert reply.status == 400
    assert "gives numbers, not classes: use regress" in reply.body["error"]


@pytest.mark.usefixtures("forest")
async def test_classes_are_no_numbers(call: Any, wine: Wine) -> None:
    reply = await call("POST", f"{MODEL}:regress", json={"examples": [wine(9)]})
    assert reply.status == 400
    assert "gives classes, not numbers: use classify" in reply.body["error"]


@pytest.mark.usefixtures("serving")
async def test_not_a_number_is_missing_and_infinity_is_refused(call: Any, wine: Wine) -> None:
    for value, why in (("NaN", "record 1: alcohol is missing"), ("-Infinity", "beyond what FP64")):
        rows = [wine(9), wine(9) | {"alcohol": float(value)}]
        reply = await call("POST", f"{MODEL}:predict", data=json.dumps({"instances": rows}))
        assert reply.status == 400
        assert why in reply.body["error"]


@pytest.mark.usefixtures("serving")
async def test_the_time_allowed_is_a_deadline(call: Any, wine: Wine) -> None:
    body = {"instances": [wine(9)]}
    for seconds, status in (("0.000001", 504), ("nix", 400), ("10", 200)):
        headers = {"X-Request-Timeout": seconds}
        assert (await call("POST", f"{MODEL}:predict", json=body, headers=headers)).status == status


async def test_the_status_has_every_version_the_newest_first(
    call: Any, publish: Any, serving: Any
) -> None:
    rejected = (await publish(b"nothing", modelType="onnx")).body
    newest, former, *_ = (await call("GET", MODEL)).body["model_version_status"]
    assert newest == {
        "version": str(rejected["version"]),
        "state": "END",
        "status": {"error_code": "INVALID_ARGUMENT", "error_message": rejected["reason"]},
    }
    assert former == {
        "version": str(serving["version"]),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


async def test_the_status_of_one_version_is_asked_by_number_by_label_or_by_its_model(
    call: Any, publish: Any, model: Any
) -> None:
    published = (await publish(model(), name="single")).body
    for path in (f"wine/versions/{published['version']}", "wine/labels/stable", "single"):
        (status,) = (await call("GET", f"/v1/models/{path}")).body["model_version_status"]
        assert (status["version"], status["state"]) == (str(published["version"]), "AVAILABLE")
    assert (await publish(model(), name="other")).status == 201
    (status,) = (await call("GET", "/v1/models/single")).body["model_version_status"]
    assert status["state"] == "END"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("half", 404, "Could not find any versions of model half"),
        ("wine/versions/999999", 404, "Could not find version 999999 of model wine"),
        ("wine/labels/canary", 400, "Unrecognized servable version label: canary"),
        ("cider", 404, "Could not find any versions of model cider"),
        ("cider/metadata", 503, "no model serves 'cider' at present"),
        ("half/metadata", 404, "Servable not found for request: Latest(half)"),
    ],
)
async def test_what_is_not_there_has_no_status(
    call: Any, serving: Any, path: str, status: int, error: str
) -> None:
    reply = await call("GET", f"/v1/models/{path}")
    assert (reply.status, reply.body) == (status, {"error": error})


async def test_the_metadata_has_the_inputs_and_the_outputs(
    call: Any, serving: Any, wine: Wine
) -> None:
    await call("POST", f"{MODEL}:predict", json={"instances": [wine(9)]})
    body = (await call("GET", f"{MODEL}/labels/stable/metadata")).body
    spec = {"name": "wine", "signature_name": "", "version": str(serving["version"])}
    assert body["model_spec"] == spec
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    number = {"dtype": "DT_DOUBLE", "tensor_shape": shape}
    assert signature["inputs"] == {name: number | {"name": f"{name}:0"} for name in wine(9)}
    assert signature["outputs"] == {"value": number | {"name": "value:0"}}
    assert signature["method_name"] == "tensorflow/serving/predict"


@pytest.fixture
async def slots(call: Any, publish: Any, model: Any) -> AsyncIterator[dict[str, int]]:
    """Have models on two slots, `first` and `second`, that is 0.5 more; their versions."""
    versions = {}
    for name, bias in (("first", 0.0), ("second", 0.5)):
        versions[name] = (await publish(model(bias), name=name)).body["version"]
    yield versions
    assert (await call("DELETE", "/policies/wine")).status == 200


async def test_slots_of_a_policy_are_labels(call: Any, slots: dict[str, int], wine: Wine) -> None:
    policy = {"policy": "majority", "slots": [*slots]}
    assert (await call("PUT", "/policies/wine", json=policy)).status == 200
    body = {"instances": [wine(9), wine(10)]}
    for (name, version), more in zip(slots.items(), (0.0, 0.5), strict=True):
        reply = await call("POST", f"{MODEL}/labels/{name}:predict", json=body)
        assert reply.body == {"predictions": [9.0 + more, 10.0 + more]}
        assert reply.headers["X-Repertory-Version"] == str(version)
        (status,) = (await call("GET", f"{MODEL}/labels/{name}")).body["model_version_status"]
        assert (status["version"], status["state"]) == (str(version), "AVAILABLE")


async def test_a_version_that_is_named_answers_all_records_whatever_a_canary_gets(
    call: Any, slots: dict[str, int], wine: Wine
) -> None:
    policy = {"policy": "canary", "slots": [*slots], "options": {"share": 0.5}}
    assert (await call("PUT", "/policies/wine", json=policy)).status == 200
    path = f"{MODEL}/versions/{slots['second']}:predict"
    reply = await call("POST", path, json={"instances": [wine(9)] * 10})
    assert reply.body == {"predictions": [9.5] * 10}


async def test_prometheus_finds_the_metrics_where_tensorflow_serving_has_them(
    shared_node: LocalNode,
) -> None:
    path = "/monitoring/prometheus/metrics"
    async with aiohttp.ClientSession(shared_node.url) as session, session.get(path) as reply:
        assert reply.status == 200
        assert "repertory_router_up 1.0" in await reply.text()


_PATHS = st.sampled_from(["", "/versions/0", "/versions/x", "/labels/stable", "/labels/%00"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: (
        st.lists(each, max_size=4)
        | st.dictionaries(st.sampled_from(["alcohol", "pH", "b64", "x"]), each, max_size=3)
    ),
    max_leaves=12,
)
_KEYS = st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"])
_BODIES = st.binary(max_size=40) | st.dictionaries(_KEYS, _JSON, max_size=3).map(
    lambda each: json.dumps(each).encode()
)


@pytest.mark.usefixtures("serving")
@given(path=_PATHS, verb=st.sampled_from(["predict", "classify", "regress", "x"]), body=_BODIES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_garbage_is_the_clients_fault(call: Any, path: str, verb: str, body: bytes) -> None:
    reply = await call("POST", f"{MODEL}{path}:{verb}", data=body)
    assert reply.status in (200, 400, 404)
    assert reply.status == 200 or set(reply.body) == {"error"}
