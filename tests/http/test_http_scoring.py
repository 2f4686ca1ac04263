"""`POST /score/{dataType}`."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repertory.protos.winerecord_pb2 import WineRecord

AS_JSON = {"Content-Type": "application/json"}
Wine = Callable[[float], dict[str, float]]


async def test_a_record_is_answered_with_its_score_and_the_model(
    call: Any, serving: Any, wine: Wine
) -> None:
    reply = await call("POST", "/score/wine", json=wine(9.5))
    assert reply.status == 200
    assert reply.body == {
        "dataType": "wine",
        "model": {key: serving[key] for key in ("name", "version", "sha256")},
        "results": [{"value": 9.5}],
    }


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("wrap", [lambda records: records, lambda records: {"records": records}])
async def test_a_list_longer_than_a_batch_is_answered_in_order(
    call: Any, wine: Wine, wrap: Callable[[Any], Any]
) -> None:
    reply = await call("POST", "/score/wine", json=wrap([wine(i) for i in range(333)]))
    assert [result["value"] for result in reply.body["results"]] == list(range(333))


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/octet-stream"])
async def test_a_protobuf_record_is_scored(call: Any, wine: Wine, kind: str) -> None:
    data = json_format.ParseDict(wine(11), WineRecord()).SerializeToString()
    reply = await call("POST", "/score/wine", data=data, headers={"Content-Type": kind})
    assert reply.body["results"] == [{"value": 11.0}]


@pytest.mark.usefixtures("serving")
async def test_json_is_understood_whatever_its_content_type_says(call: Any, wine: Wine) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await call("POST", "/score/wine", data=b'{"records": [{}]}', headers=form)
    assert reply.body["results"][0]["code"] == "missing_feature"


async def test_classes_come_with_their_probabilities(
    call: Any, publish: Any, wine: Wine, wine_models: Path
) -> None:
    content = (wine_models / "02-random-forest.onnx").read_bytes()
    assert (await publish(content)).status == 201
    (result,) = (await call("POST", "/score/wine", json=wine(10))).body["results"]
    assert result["label"] in result["probabilities"]
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("serving")
async def test_bad_records_fail_alone(call: Any, wine: Wine) -> None:
    bad: list[Any] = [
        None,
        3,
        "wine",
        [],
        {},
        wine(1) | {"alcohol": "strong"},
        wine(1) | {"alcohol": None},
    ]
    records = [each for record in bad for each in (wine(5), record)] + [wine(5)]
    reply = await call("POST", "/score/wine", json=records)
    results = reply.body["results"]
    assert reply.status == 200
    assert results[::2] == [{"value": 5.0}] * 8
    assert [set(result) for result in results[1::2]] == [{"error", "code"}] * 7
    codes = [result["code"] for result in results[1::2]]
    assert codes == ["invalid_record"] * 4 + ["missing_feature", "invalid_feature"] + [
        "missing_feature"
    ]


@pytest.mark.usefixtures("serving")
async def test_a_garbage_protobuf_record_is_its_own_failure(call: Any) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    reply = await call("POST", "/score/wine", data=b"garbage", headers=headers)
    assert reply.status == 200
    assert reply.body["results"][0]["code"] == "invalid_record"


async def test_no_records_get_no_results(call: Any, serving: Any) -> None:
    reply = await call("POST", "/score/wine", json=[])
    assert reply.body["results"] == []
    assert reply.body["model"]["version"] == serving["version"]
    assert (await call("POST", "/score/cider", json=[])).body["model"] is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'[{"pH": 3}, {"pH": nix}]', "line 1 column 20"),
        (b"[NaN]", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"", "the body is empty"),
        (b"7", "must be a record, a list"),
        (b"null", "must be a record, a list"),
        (b'{"records": {}}', "records must be a list"),
        (b"[" * 2000, "not JSON"),
        (b'{"pH": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
    ],
)
async def test_what_is_no_record_is_refused(call: Any, body: bytes, why: str) -> None:
    reply = await call("POST", "/score/wine", data=body, headers=AS_JSON)
    assert reply.status == 400
    assert why in reply.body["error"]


async def test_an_unknown_data_type_is_named(call: Any, wine: Wine) -> None:
    for path in ("/score/beer", "/score/%ff", "/score/wine%2Fred"):
        reply = await call("POST", path, json=wine(1))
        assert reply.status == 404
        assert "there are: cider, wine" in reply.body["error"]


async def test_a_data_type_without_a_model_is_unavailable(call: Any, wine: Wine) -> None:
    reply = await call("POST", "/score/cider", json=wine(1))
    assert (reply.status, set(reply.body)) == (503, {"error"})
    assert "publish one" in reply.body["error"]  # there was none, or it was retired


async def test_a_score_that_is_no_number_is_a_failure(
    call: Any, publish: Any, model: Any, wine: Wine
) -> None:
    assert (await publish(model(1e38))).status == 201
    reply = await call("POST", "/score/wine", json=[wine(3.4e38), wine(0)])
    assert [set(result) for result in reply.body["results"]] == [{"error", "code"}, {"value"}]


@pytest.mark.parametrize("seconds", ["soon", "", "-1", "0", "nan"])
async def test_a_timeout_must_be_a_number_of_seconds(call: Any, wine: Wine, seconds: str) -> None:
    headers = {"X-Request-Timeout": seconds}
    reply = await call("POST", "/score/wine", json=wine(1), headers=headers)
    assert reply.status == 400
    assert "X-Request-Timeout" in reply.body["error"]


@pytest.mark.usefixtures("serving")
async def test_time_that_is_over_is_a_timeout(call: Any, wine: Wine) -> None:
    headers = {"X-Request-Timeout": "0.0000001"}
    reply = await call("POST", "/score/wine", json=wine(1), headers=headers)
    assert reply.status in (429, 504)


@pytest.mark.usefixtures("serving")
async def test_a_body_beyond_the_limit_is_refused(call: Any) -> None:
    reply = await call("POST", "/score/wine", data=io.BytesIO(b" " * (1024 * 1024 + 1)))
    assert reply.status == 413
    assert "1 MiB (http.max_body_mb)" in reply.body["error"]


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
async def test_concurrent_requests_never_mix_their_replies(
    call: Any, serving: Any, wine: Wine, sizes: list[int]
) -> None:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    ranges = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    replies = await asyncio.gather(
        *(call("POST", "/score/wine", json=[wine(i) for i in each]) for each in ranges)
    )
    for each, reply in zip(ranges, replies, strict=True):
        assert [result["value"] for result in reply.body["results"]] == list(each)


async def test_one_request_is_scored_by_one_version(
    call: Any, publish: Any, model: Any, wine: Wine
) -> None:
    biases = {(await publish(model(0))).body["version"]: 0.0}
    swapping = asyncio.create_task(_swap(publish, model, biases))
    replies = []
    while not swapping.done():
        replies.append((await call("POST", "/score/wine", json=[wine(1)] * 400)).body)
    await swapping
    for reply in replies:
        expected = 1 + biases[reply["model"]["version"]]
        assert [result["value"] for result in reply["results"]] == [expected] * 400
    assert len({reply["model"]["version"] for reply in replies}) > 2


async def _swap(publish: Any, model: Any, biases: dict[int, float]) -> None:
    for bias in range(1, 8):
        biases[(await publish(model(bias))).body["version"]] = float(bias)
