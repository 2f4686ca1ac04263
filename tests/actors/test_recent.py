"""What was answered last is told by the record, by whichever version."""

import numpy as np

from repertory.actors.messages import StageModel
from repertory.actors.recent import MOST_TOLD, Recent
from repertory.errors import FailureCode
from repertory.models.model import Failed, Outcomes


def update(version: int) -> StageModel:
    return StageModel("wine", version, version, "adds", "sum", "ONNX", "ab" * 32, "/nowhere")


def test_the_newest_is_told_first_across_versions() -> None:
    recent = Recent()
    recent.note(update(1), Outcomes(2, values=np.array([1.0, 2.0])), 0.5)
    recent.note(update(2), Outcomes(1, values=np.array([3.0])), 0.7)
    told = recent.as_json()
    assert [(each["version"], each["value"]) for each in told] == [(2, 3.0), (1, 2.0), (1, 1.0)]
    assert [each["milliseconds"] for each in told] == [0.7, 0.5, 0.5]


def test_labels_and_failures_are_told_by_their_row() -> None:
    recent, failed = Recent(), Failed(FailureCode.SCORING_FAILED, "x" * 1000)
    chosen = np.array([1, -1, 0], np.int32)
    recent.note(update(1), Outcomes(3, None, ("a", "b"), chosen, failures={1: failed}), 1.0)
    first, second, third = recent.as_json()
    assert (first["label"], second["error"], third["label"]) == ("a", "x" * 200, "b")


def test_of_a_large_batch_only_the_end_is_kept() -> None:
    recent, values = Recent(), np.arange(1000.0)
    recent.note(update(1), Outcomes(1000, values=values, failures={}), 1.0)
    assert [each["value"] for each in recent.as_json()] == list(range(999, 999 - MOST_TOLD, -1))


def test_an_empty_batch_is_no_result() -> None:
    recent = Recent()
    recent.note(update(1), Outcomes(0, values=np.empty(0)), 1.0)
    assert recent.as_json() == []
