"""What users write of a choice by quality is what it goes by."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from tests.actors.policies.worlds import FAILURE, WAITING, Cell, Said, answers_of

from repertory.actors.policies.answers import NOBODY
from repertory.actors.policies.kinds import quality
from repertory.actors.policies.settings import read_settings


def chosen(first: Cell, second: Cell, **options: Any) -> int:
    """Return whom the policy of two slots, `mlp` and `tree`, chooses."""
    document = {"policy": "quality", "slots": ["mlp", "tree"], "options": options}
    policy = quality(read_settings(json.dumps(document)))
    return int(policy.choose(answers_of([[first], [second]])).slots[0])


def margin(value: float) -> Said:
    return Said("a", 0.5, (("margin", value),))


SURE = Said("b", 0.75)


def test_a_named_output_is_compared_as_it_is_and_waited_for() -> None:
    named = {"mlp": "margin:0"}
    assert chosen(margin(4.0), SURE, confidences=named) == 0
    assert chosen(margin(-4.0), SURE, confidences=named) == 1
    assert chosen(WAITING, Said("b", 1.0), confidences=named) == NOBODY
    assert chosen(FAILURE, SURE, confidences=named) == 1


def test_a_calibration_puts_a_named_output_on_the_common_scale() -> None:
    points = [{"stated": -2, "right": 0.4}, {"stated": 10, "right": 0.8}]
    options = {"confidences": {"mlp": "margin"}, "calibrations": {"mlp": points}}
    assert chosen(margin(4.0), SURE, **options) == 1
    assert chosen(margin(9.0), SURE, **options) == 0
    assert chosen(WAITING, Said("b", 0.9), **options) == 1


def test_what_is_not_named_counts_as_one_at_most() -> None:
    boast = Said("b", 0.5, (("confidence", 7.0),))
    assert chosen(Said("a", 1.0), boast) == 0
    assert chosen(Said("a", 0.9), boast) == 1
    assert chosen(Said("a", 1.0), WAITING) == 0


@pytest.mark.parametrize("points", [[], [{"stated": 1, "right": 0.5}, {"stated": 0, "right": 1}]])
def test_a_calibration_that_does_not_rise_is_refused(points: list[dict[str, float]]) -> None:
    with pytest.raises(ValidationError):
        chosen(SURE, SURE, calibrations={"mlp": points})


def test_an_unknown_slot_is_named() -> None:
    with pytest.raises(ValueError, match="'forest' is none of the slots"):
        chosen(SURE, SURE, confidences={"forest": "margin"})
