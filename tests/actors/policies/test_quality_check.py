"""A choice by quality is refused when a slot's model cannot say how sure it is."""

import json
from typing import Any

import pytest

from repertory.actors.policies.quality_check import check_confidences
from repertory.actors.policies.settings import PolicySettings, read_settings
from repertory.errors import InvalidRequest
from repertory.models.model import Signature, Task

FOREST = Signature(Task.CLASSIFICATION, (), probabilities_output="p", classes=("a", "b"))
LABEL = Signature(Task.CLASSIFICATION, (), label_output="label")
MARGIN = Signature(Task.REGRESSION, (), value_output="y", extra_outputs=("margin:0", "score"))
SURE = Signature(Task.REGRESSION, (), value_output="y", extra_outputs=("my_confidence",))


def settings(policy: str = "quality", **options: Any) -> PolicySettings:
    document = {"policy": policy, "slots": ["forest", "mlp"], "options": options}
    return read_settings(json.dumps(document))


@pytest.mark.parametrize("mlp", [FOREST, SURE])
def test_probabilities_or_a_confidence_are_enough(mlp: Signature) -> None:
    check_confidences(settings(), {"forest": FOREST, "mlp": mlp})


@pytest.mark.parametrize("name", ["margin", "margin:0", "score"])
def test_an_output_that_is_named_must_be_there(name: str) -> None:
    check_confidences(settings(confidences={"mlp": name}), {"forest": FOREST, "mlp": MARGIN})


@pytest.mark.parametrize(
    ("mlp", "message"),
    [
        (
            MARGIN,
            "options.confidences.mlp: the model of slot 'mlp' has no output 'sure' beside its answer",
        ),
        (MARGIN, "no output 'sure' beside its answer; it has: margin, score"),
        (FOREST, "slot 'mlp' has no output 'sure' beside its answer; it has: none"),
    ],
)
def test_an_output_that_is_not_there_is_named_with_its_slot(mlp: Signature, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_confidences(settings(confidences={"mlp": "sure"}), {"forest": FOREST, "mlp": mlp})
    assert message in str(caught.value)


@pytest.mark.parametrize("mlp", [LABEL, MARGIN])
def test_a_slot_without_any_confidence_is_named_with_what_it_has(mlp: Signature) -> None:
    with pytest.raises(InvalidRequest, match=r"slot 'mlp' cannot say .*options\.confidences\.mlp"):
        check_confidences(settings(), {"forest": FOREST, "mlp": mlp})


def test_slots_that_nothing_serves_yet_and_other_policies_are_not_judged() -> None:
    check_confidences(settings(confidences={"mlp": "sure"}), {"forest": FOREST})
    check_confidences(settings("majority"), {"forest": LABEL, "mlp": LABEL})


def test_options_that_are_wrong_are_told() -> None:
    with pytest.raises(InvalidRequest, match=r"options\.confidences\.mlp"):
        check_confidences(settings(confidences={"mlp": 3}), {})
