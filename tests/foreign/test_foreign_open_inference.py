"""The clients generated from the published Open Inference Protocol, as they are, talk to a node."""

from typing import Any

import pytest

import repertory


@pytest.fixture(scope="module")
def seen(run_client: Any, addresses: tuple[str, str]) -> Any:
    return run_client("open_inference", *addresses)


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_the_server_is_live_and_ready_and_tells_what_it_is(seen: Any, face: str) -> None:
    about = seen[face]["server"]
    assert (about["name"], about["version"]) == ("repertory", repertory.__version__)
    assert seen["grpc"]["live"]
    assert seen["grpc"]["ready"]
    assert seen["grpc by asyncio"]["ready"]
    assert seen["grpc"]["models"] == [True, False]


@pytest.mark.parametrize("face", ["rest", "rest by asyncio", "grpc"])
def test_metadata_name_the_inputs_and_the_outputs(seen: Any, face: str) -> None:
    about = seen[face]["metadata"]
    assert (about["name"], about["versions"], len(about["inputs"])) == ("wine", ["1"], 11)
    outputs = [(each["name"], each["datatype"], *each["shape"]) for each in about["outputs"]]
    minus_one = -1 if face != "grpc" else "-1"  # protobuf's JSON has 64-bit numbers as texts
    classes = 6 if face != "grpc" else "6"
    assert outputs == [
        ("label", "BYTES", minus_one),
        ("probabilities", "FP64", minus_one, classes),
    ]


@pytest.mark.parametrize("face", ["rest", "rest by asyncio"])
def test_tensors_are_scored_over_rest(seen: Any, face: str) -> None:
    reply = seen[face]["infer"]
    assert (reply["model_name"], reply["model_version"], reply["id"]) == ("wine", "1", "42")
    label, probabilities = reply["outputs"]
    # This client takes a text for a number where it can: the specification allows both there.
    assert (label["data"], label["shape"]) == ([5, 5], [2])
    assert (probabilities["shape"], len(probabilities["data"])) == ([2, 6], 12)


def test_a_version_is_scored_by(seen: Any) -> None:
    assert seen["rest"]["metadata of a version"]["versions"] == ["1"]
    assert seen["rest"]["infer by version"] == seen["rest"]["infer"]


@pytest.mark.parametrize("face", ["grpc", "grpc by asyncio"])
def test_tensors_are_scored_over_grpc(seen: Any, face: str) -> None:
    reply = seen[face]["infer"]
    assert (reply["modelName"], reply["modelVersion"], reply["id"]) == ("wine", "1", "42")
    label, probabilities = reply["outputs"]
    assert label["contents"]["bytesContents"] == ["NQ=="] * 2  # "5", in base64
    assert len(probabilities["contents"]["fp64Contents"]) == 12


def test_what_is_not_there_is_told(seen: Any) -> None:
    status, body = seen["rest"]["refused"]
    assert (status, "there is no data type 'beer'" in body["error"]) == (404, True)
    assert "beer" in seen["rest"]["not ready"]["error"]
    assert seen["grpc"]["refused"] == "NOT_FOUND"
