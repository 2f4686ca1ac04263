"""A stage scores batches on the model that is on it, and counts what it did."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from repertory.actors.batch import RecordFailed, Value, decode_columns, decode_outcomes
from repertory.actors.messages import ClearStage, Shard, StageModel
from repertory.actors.stage import Stage
from repertory.config import DataType
from repertory.errors import FailureCode, NoModel
from repertory.models.model import Columns, Failed, Outcomes, Signature, Task
from repertory.models.records import RecordDecoder
from repertory.models.schema import schema_of
from repertory.protos.loading import load_message
from repertory.protos.winerecord_pb2 import WineRecord

WINE = DataType(message="repertory.protos.winerecord_pb2:WineRecord", features=("pH", "alcohol"))


class Adds:
    """A model: pH + alcohol + a constant; a record whose alcohol is 13 fails."""

    signature = Signature(Task.REGRESSION, (), value_output="y")

    def __init__(self, constant: float) -> None:
        self._constant = constant
        self.runs: list[int] = []

    def score(self, columns: Columns) -> Outcomes:
        """Score a batch."""
        self.runs.append(columns.count)
        alcohol = columns.features["alcohol"]
        values = columns.features["pH"].astype(np.float64) + alcohol + self._constant
        bad = np.flatnonzero(alcohol == 13).tolist()
        failed = Failed(FailureCode.SCORING_FAILED, "13")
        return Outcomes(columns.count, values=values, failures=dict.fromkeys(bad, failed))

    def close(self) -> None:
        """Do nothing."""


class Classes(Adds):
    """A model that says how strong a wine is."""

    signature = Signature(
        Task.CLASSIFICATION, (), probabilities_output="p", classes=("light", "strong")
    )

    def score(self, columns: Columns) -> Outcomes:
        """Score a batch."""
        strong = (columns.features["alcohol"].astype(np.float64) > 12).astype(np.int32)
        probabilities = np.stack([1.0 - strong, strong], axis=1)
        return Outcomes(columns.count, None, ("light", "strong"), strong, probabilities)


class Sure(Adds):
    """A model that says how sure it is: 1 / alcohol."""

    def score(self, columns: Columns) -> Outcomes:
        """Score a batch."""
        sure = 1 / columns.features["alcohol"].astype(np.float64)
        return replace(super().score(columns), extras={"confidence": sure})


def update(version: int) -> StageModel:
    return StageModel("wine", version, version, "adds", "sum", "ONNX", "ab" * 32, "/nowhere")


def wine(ph: float, alcohol: float) -> bytes:
    return WineRecord(pH=ph, alcohol=alcohol).SerializeToString()


@pytest.fixture
def stage() -> Stage:
    return Stage(Shard("wine"), RecordDecoder(schema_of("wine", WINE), load_message(WINE.message)))


def test_what_a_model_answers_is_told_before_it_has(stage: Stage) -> None:
    stage.swap(update(1), Adds(0))
    told = stage.state_json()
    assert (told["task"], "probabilities" in told) == ("regression", False)
    stage.swap(update(2), Classes(0))
    told = stage.state_json()
    assert (told["task"], told["probabilities"]) == ("classification", 2)


def test_without_a_model_there_is_no_score_and_no_state(stage: Stage) -> None:
    with pytest.raises(NoModel, match="no model serves 'wine' yet"):
        stage.score([[wine(3, 9)]], json=False)
    with pytest.raises(NoModel):
        stage.state_json()
    assert stage.model_json() is None


def test_each_record_gets_its_outcome_and_the_reply_says_which_version_made_it(
    stage: Stage,
) -> None:
    stage.swap(update(3), Adds(1))
    [reply] = stage.score([[wine(3, 9), wine(4, 10)]], json=False)
    assert decode_outcomes(reply, 2) == [Value(13), Value(15)]
    assert (reply.model_name, reply.model_version, reply.model_sha256) == ("adds", 3, "ab" * 32)


def test_batches_go_through_the_model_together_and_come_back_apart(stage: Stage) -> None:
    model = Adds(0)
    stage.swap(update(1), model)
    batches = [[wine(1, 1)], [], [wine(2, 1), b"\xff"], [wine(3, 13), wine(3, 1)]]
    one, none, two, three = stage.score(batches, json=False)
    assert model.runs == [5]
    assert decode_outcomes(one, 1) == [Value(2)]
    assert decode_outcomes(none, 0) == []
    first, garbage = decode_outcomes(two, 2)
    assert first == Value(3)
    assert isinstance(garbage, RecordFailed)
    assert garbage.code is FailureCode.INVALID_RECORD
    assert decode_outcomes(three, 2) == [
        RecordFailed(FailureCode.SCORING_FAILED, "13"),
        Value(4),
    ]


def test_replies_say_how_long_decoding_and_scoring_took(stage: Stage) -> None:
    class Sleeps(Adds):
        def score(self, columns: Columns) -> Outcomes:
            deadline = time.perf_counter() + 0.02
            while time.perf_counter() < deadline:
                pass
            return super().score(columns)

    stage.swap(update(1), Sleeps(0))
    start = time.perf_counter()
    replies = stage.score([[wine(1, 1)] * 300, [wine(2, 1)]], json=False)
    took = time.perf_counter() - start
    first, second = (decode_columns(*each) for each in zip(replies, (300, 1), strict=True))
    assert first.score_seconds >= 0.02
    assert 0 < first.decode_seconds < took - 0.02
    assert (second.decode_seconds, second.score_seconds) == (
        first.decode_seconds,
        first.score_seconds,
    )


def test_labels_and_probabilities_are_cut_like_values(stage: Stage) -> None:
    stage.swap(update(1), Classes(0))
    replies = stage.score([[wine(3, 9)], [wine(3, 14)]], json=False)
    outcomes = [decode_outcomes(reply, 1)[0] for reply in replies]
    assert [getattr(outcome, "label", None) for outcome in outcomes] == ["light", "strong"]
    assert [getattr(outcome, "probabilities", {})["strong"] for outcome in outcomes] == [0, 1]


def test_json_records_are_scored_too(stage: Stage) -> None:
    stage.swap(update(1), Adds(0))
    [reply] = stage.score([[b'{"pH": 3, "alcohol": 9}', b"{"]], json=True)
    value, failed = decode_outcomes(reply, 2)
    assert value == Value(12)
    assert isinstance(failed, RecordFailed)


def test_a_swap_hands_back_the_model_that_leaves_and_starts_counting_anew(stage: Stage) -> None:
    old, new = Adds(0), Adds(100)
    assert stage.swap(update(1), old) is None
    stage.score([[wine(1, 1)]], json=False)
    assert stage.swap(update(2), new) is old
    assert stage.state_json()["usage"] == 0
    [reply] = stage.score([[wine(1, 1)]], json=False)
    assert decode_outcomes(reply, 1) == [Value(102)]
    assert (stage.swaps, stage.position) == (2, 2)


def test_a_cleared_stage_says_since_when_it_is_empty(stage: Stage) -> None:
    model = Adds(0)
    stage.swap(update(1), model)
    assert stage.clear(ClearStage("wine", 2, 1_700_000_000_000)) is model
    with pytest.raises(NoModel, match=r"of 'wine' was retired at 2023-11-14T22:13:20Z .*roll back"):
        stage.score([[wine(3, 9)]], json=False)
    assert (stage.model_json(), stage.position) == (None, 2)
    assert stage.retired_json() == {"at": 1_700_000_000_000, "position": 2}


def test_a_later_model_ends_a_retirement(stage: Stage) -> None:
    stage.clear(ClearStage("wine", 2, 1000))
    assert stage.swap(update(3), Adds(0)) is None
    assert (stage.retired_json(), stage.position) == (None, 3)


def test_the_state_counts_records_and_errors(stage: Stage) -> None:
    stage.swap(update(1), Adds(0), since_ms=1234)
    stage.score([[wine(1, 1), b"\xff"], [wine(1, 13)]], json=False)
    state = stage.state_json()
    assert (state["usage"], state["errors"], state["since"]) == (3, 2, 1234)
    assert 0 < state["min"] == state["max"] == state["duration"] < math.inf


def test_what_a_model_says_beside_is_cut_like_its_answers(stage: Stage) -> None:
    stage.swap(update(1), Sure(0))
    first, second, empty = stage.score(
        [[wine(3, 10)], [wine(3, 5), b"", wine(3, 4)], []], json=False
    )
    assert decode_columns(first, 1).extras["confidence"].tolist() == [0.1]
    columns = decode_columns(second, 3)
    assert list(columns.failures) == [1]
    np.testing.assert_array_equal(columns.extras["confidence"], [0.2, np.nan, 0.25])
    assert decode_columns(empty, 0).extras["confidence"].tolist() == []


def test_a_model_that_says_nothing_beside_costs_no_bytes(stage: Stage) -> None:
    stage.swap(update(1), Adds(0))
    [reply] = stage.score([[wine(3, 10)]], json=False)
    assert not reply.extras
