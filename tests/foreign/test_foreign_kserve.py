"""KServe's inference clients, as they are, talk to a node."""

from typing import Any

import pytest

# What the example's forest says of the two wines in clients/kserve_client.py.
ANSWER = {
    "model": "wine",
    "id": "42",
    "labels": ["5", "7"],
    "probabilities": [2, 6],
    "best": [2, 4],
}
HEALTH = {"live": True, "ready": True, "models": [True, False]}


@pytest.fixture(scope="module")
def seen(run_client: Any, addresses: tuple[str, str]) -> Any:
    return run_client("kserve", *addresses, beside=True)


def test_health_is_told_over_rest_and_grpc(seen: Any) -> None:
    for face in ("rest", "grpc"):
        assert HEALTH.items() <= seen[face].items()


@pytest.mark.parametrize(
    "form", ["json", "binary", "binary, json", "json, binary", "as it likes", "a dict"]
)
def test_tensors_are_scored_in_every_form_over_rest(seen: Any, form: str) -> None:
    assert ANSWER.items() <= seen["rest"][form].items()


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_tensors_are_scored_in_every_form_over_grpc(seen: Any, form: str) -> None:
    assert seen["grpc"][form] == ANSWER | {"version": "1"}


def test_the_first_protocol_is_spoken_too(seen: Any) -> None:
    assert [each["label"] for each in seen["v1"]["predictions"]] == ANSWER["labels"]


def test_what_is_not_there_is_told(seen: Any) -> None:
    assert "there is no data type 'beer'" in seen["rest"]["refused"]
    assert "404 Not Found" in seen["rest"]["refused"]
    assert seen["grpc"]["refused"] == "NOT_FOUND"
