"""The roles of outputs are told from answers, and two answers are compared."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.errors import FailureCode, ModelRejected
from repertory.models.agreement import disagreement
from repertory.models.extras import require
from repertory.models.model import Failed, Outcomes
from repertory.models.outputs import Roles, difference, roles_of

VALUES = np.array([1.0, 2.0])
LABELS = np.array([3, 4])
PROBABILITIES = np.array([[0.25, 0.75], [0.5, 0.5]])
SCORES = np.array([[1.0, -2.0], [0.0, 7.0]])
PROBABLE = Roles(scores="b", classes=2, are_probabilities=True)


@pytest.mark.parametrize(
    ("outputs", "roles"),
    [
        ({"a": VALUES}, Roles(value="a")),
        ({"a": VALUES.reshape(2, 1)}, Roles(value="a")),
        ({"a": LABELS}, Roles(label="a")),
        ({"a": np.array(["x", "y"], np.object_)}, Roles(label="a")),
        ({"a": PROBABILITIES}, Roles(scores="a", classes=2, are_probabilities=True)),
        ({"a": SCORES}, Roles(scores="a", classes=2)),
        (
            {"a": LABELS, "b": PROBABILITIES},
            Roles(label="a", scores="b", classes=2, are_probabilities=True),
        ),
        ({"a": LABELS, "b": VALUES}, Roles(label="a", extras=("b",))),
        (
            {"a": LABELS, "b": PROBABILITIES, "c": VALUES, "d": VALUES.reshape(2, 1)},
            replace(PROBABLE, label="a", extras=("c", "d")),
        ),
        ({"a": VALUES, "b": PROBABILITIES}, replace(PROBABLE, extras=("a",))),
        (
            {"Confidence:0": VALUES, "b": SCORES},
            Roles(scores="b", classes=2, extras=("Confidence:0",)),
        ),
        ({"sure": VALUES, "confidence": VALUES}, Roles(value="sure", extras=("confidence",))),
        (
            {"model_confidence": VALUES, "a": VALUES, "b/ModelConfidence:1": VALUES},
            Roles(value="a", extras=("model_confidence", "b/ModelConfidence:1")),
        ),
        ({"confidence": VALUES}, Roles(value="confidence")),
    ],
)
def test_roles_are_told_from_shapes_and_numbers(
    outputs: dict[str, NDArray[Any]], roles: Roles
) -> None:
    assert roles_of(outputs, 2) == roles


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"a": VALUES, "b": VALUES},
        {"a": VALUES, "b": VALUES, "confidence": VALUES},
        {"confidence": VALUES, "other_confidence": VALUES},
        {"a": VALUES, "overconfidence": VALUES},
        {"a": VALUES, "confidence_low": VALUES},
        {"a": VALUES, "confidence": VALUES, "confidence:0": VALUES},
        {"a": VALUES, "b": SCORES},
        {"a": LABELS, "confidence": LABELS},
        {"a": SCORES, "b": SCORES},
        {"a": np.ones(3)},
        {"a": np.ones((2, 2, 2))},
        {"a": np.ones(2, np.complex128)},
    ],
)
def test_other_outputs_are_refused(outputs: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(ModelRejected, match="outputs are not understood"):
        roles_of(outputs, 2)


def test_a_refusal_says_how_outputs_must_be_called() -> None:
    with pytest.raises(ModelRejected, match=r"a float64\[2\], b .* must be called `confidence`"):
        roles_of({"a": VALUES, "b": VALUES}, 2)


def test_differences_are_measured_by_the_size_of_numbers() -> None:
    assert difference({"a": VALUES}, {"a": VALUES.reshape(2, 1) + 1e-9}, 1e-5) is None
    assert difference({"a": 1e9 * VALUES}, {"a": 1e9 * VALUES + 1}, 1e-5) is None
    assert difference({"a": VALUES}, {"a": VALUES + 1e-3}, 1e-5) == "a is 1.0 and 1.001"
    assert difference({"a": LABELS}, {"a": LABELS + 1}, 1e-5) == "a is 3 and 4"


def labelled(*rows: tuple[int, float]) -> Outcomes:
    """Return outcomes of two classes: the chosen one, and the probability of the first."""
    chosen = np.array([row[0] for row in rows], np.int32)
    first = np.array([row[1] for row in rows])
    return Outcomes(
        len(rows),
        labels=("a", "b"),
        chosen=chosen,
        probabilities=np.column_stack([first, 1 - first]),
    )


def test_engines_agree_but_for_rounding_and_ties() -> None:
    assert disagreement(labelled((0, 0.7)), labelled((0, 0.700001))) is None
    assert disagreement(labelled((0, 0.5)), labelled((1, 0.5))) is None
    assert disagreement(labelled((0, 0.7)), labelled((0, 0.71))) is not None
    assert disagreement(labelled((0, 0.7)), labelled((1, 0.7))) == "one answers a, the other b"


def test_engines_must_fail_on_the_same_records() -> None:
    failed = {0: Failed(FailureCode.SCORING_FAILED, "no")}
    one = Outcomes(2, values=VALUES, failures=failed)
    other = Outcomes(2, values=VALUES)
    assert disagreement(one, other) == "record 0 is answered by one engine only"
    assert disagreement(one, Outcomes(2, values=VALUES * 1, failures=failed)) is None


def test_what_engines_say_beside_the_answer_must_be_the_same() -> None:
    failed = {0: Failed(FailureCode.SCORING_FAILED, "no")}

    def sure(*extra: float) -> Outcomes:
        return Outcomes(2, values=VALUES, failures=failed, extras={"sure": np.array(extra)})

    assert disagreement(sure(0.1, 0.5), sure(0.9, 0.500001)) is None
    assert disagreement(sure(0, np.nan), sure(0, np.nan)) is None
    assert disagreement(sure(0, 0.5), sure(0, 0.6)) == "sure: one answers 0.5, the other 0.6"
    assert disagreement(sure(0, 0.5), sure(0, np.nan)) is not None
    bare = Outcomes(2, values=VALUES, failures=failed)
    assert disagreement(sure(0, 0.5), bare) == "the further outputs are ['sure'] and []"


def test_an_engine_that_is_not_installed_is_named_with_its_extra() -> None:
    require("numpy", extra="x")
    with pytest.raises(ModelRejected, match=r"nowhere is not .* pip install 'repertory\[x\]'"):
        require("numpy", "nowhere", extra="x")
