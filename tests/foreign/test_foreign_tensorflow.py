"""The stubs of tensorflow-serving-api, as they are, talk to a node."""

from typing import Any

import pytest
from tests.conftest import ROOT

from repertory.actors.local_node import LocalNode
from repertory.client import Client

# What the example's forest says of the two wines in clients/tensorflow_client.py.
LABELS = ["5", "7"]


@pytest.fixture(scope="module")
def seen(run_client: Any, forest_node: LocalNode, addresses: tuple[str, str]) -> Any:
    content = ROOT / "examples" / "wine" / "models" / "03-linear-regression.pmml"
    with Client(forest_node.url) as client:
        client.publish("grade", content, name="line")
    return run_client("tensorflow", addresses[1], str(ROOT / "src"), beside=True)


@pytest.mark.parametrize("form", ["tensor_content", "typed", "half", "columns"])
def test_tensors_are_scored_in_every_form(seen: Any, form: str) -> None:
    reply = seen["predict"][form]
    assert (reply["version"], reply["signature"]) == (1, "serving_default")
    assert reply["label"] == LABELS
    assert [sum(row) for row in reply["probabilities"]] == pytest.approx([1, 1], abs=1e-5)


def test_one_value_stands_for_all(seen: Any) -> None:
    assert len(set(seen["predict"]["all the same"]["label"])) == 1
    assert len(seen["predict"]["all the same"]["label"]) == 3


def test_outputs_are_filtered_and_a_version_is_named(seen: Any) -> None:
    assert seen["predict"]["filtered"] == {
        "version": 1,
        "signature": "serving_default",
        "label": LABELS,
    }


def test_examples_are_classified(seen: Any) -> None:
    rows = seen["examples"]["classes"]
    assert [max(row, key=row.__getitem__) for row in rows] == LABELS
    assert seen["examples"]["multi"]


def test_examples_are_regressed(seen: Any) -> None:
    assert seen["examples"]["values"] == pytest.approx([5.03, 6.6], abs=0.5)


def test_metadata_are_signatures(seen: Any) -> None:
    about = seen["models"]["metadata"]
    assert seen["models"]["version"] == 1
    assert len(about["inputs"]) == 11
    assert about["inputs"]["pH"]["dtype"] == "DT_DOUBLE"
    assert {name: each["dtype"] for name, each in about["outputs"].items()} == {
        "label": "DT_STRING",
        "probabilities": "DT_DOUBLE",
    }


def test_the_status_of_a_version_is_available(seen: Any) -> None:
    (version,) = seen["models"]["status"]["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")


def test_what_is_not_there_is_told(seen: Any) -> None:
    told = seen["refused"]
    assert told["beer"] == "NOT_FOUND: Servable not found for request: Latest(beer)"
    assert told["nothing"] == "INVALID_ARGUMENT: Missing ModelSpec"
    assert told["reload"].startswith("UNIMPLEMENTED: models are published, not configured")


def test_our_messages_beside_theirs_are_those_that_are_published(seen: Any) -> None:
    assert seen["differences"] == []
