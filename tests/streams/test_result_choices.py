"""What a result says of how a policy chose its answer."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.drawn_reports import asked, columns, reports

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
)
from repertory.errors import FailureCode
from repertory.protos.results_pb2 import Decision, ScoredRecord
from repertory.streams.choices import choices_of, model_message
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import Scored, encoder, headers_of_each

FOREST, TREE = ModelRef("forest", 3, "f" * 64), ModelRef("tree", 5, "e" * 64)
NO = RecordFailed(FailureCode.SCORING_FAILED, "no")
NAMES = ("asked", "arrived", "late", "failed")
LIMIT = 100_000


def records(count: int) -> list[Record]:
    """Return records."""
    return [Record(Claim("mdata", 2), row, b"key", b"bytes", 1000, 2000) for row in range(count)]


def scored(answer: ScoredColumns) -> Scored:
    """Return records with their scores."""
    return Scored("wine", records(answer.count), answer, answer.failures, 3000)


def read(what: Scored, limit: int = LIMIT) -> list[ScoredRecord]:
    """Encode as protobuf, and read with the library."""
    return [ScoredRecord.FromString(value) for value in encoder("protobuf")(what, limit)]


def wines(count: int, *, explained: bool = False) -> ScoredColumns:
    """Return numbers: the even ones are the forest's, the odd ones, as fallbacks, the tree's."""
    odd = np.arange(count) % 2 == 1
    numbers = ScoredColumns(FOREST, count, np.arange(count) / 2, (), None, None, {})
    labels = ScoredColumns(
        TREE, count, None, ("5",), np.zeros(count, np.int32), np.ones((count, 1)), {0: NO}
    )
    slots = (
        SlotReport(
            "forest", SlotState.ARRIVED, model=FOREST, answer=numbers if explained else None
        ),
        SlotReport("tree", SlotState.ARRIVED, model=TREE, answer=labels if explained else None),
        SlotReport("mlp", SlotState.LATE),
        SlotReport("new", SlotState.NOT_ASKED),
        SlotReport("old", SlotState.FAILED, shadow=True, reason="it died"),
    )
    report = PolicyReport("majority", 7, slots, odd.astype(np.int8), odd, slack_seconds=-0.0015)
    return replace(numbers, policy=report)


@given(st.data(), st.integers(1, 5))
def test_each_result_says_what_the_report_says(data: st.DataObject, count: int) -> None:
    report = data.draw(reports(count))
    answer = replace(data.draw(columns(count, FOREST)), policy=report)
    for row, result in enumerate(read(scored(answer))):
        own, slot = result.decision, report.slot_of(row)
        parts = [each for each in report.slots if asked(each, row)]
        states = [("arrived", SlotState.ARRIVED), ("late", SlotState.LATE)]
        assert (own.policy, own.policy_version) == (report.policy, report.version)
        assert (own.slot, own.fallback) == (slot.slot if slot else "", report.is_fallback(row))
        assert list(own.asked) == [each.slot for each in parts]
        for name, state in [*states, ("failed", SlotState.FAILED)]:
            assert list(getattr(own, name)) == [e.slot for e in parts if e.state is state]
        if slot is not None and slot.model is not None:
            assert result.model == model_message(slot.model)
        said = [each.slot for each in parts if each.answer is not None]
        assert [each.slot for each in own.answers] == said


def test_a_result_is_of_the_model_of_its_slot() -> None:
    first, second = read(scored(wines(2)))
    assert (first.model.name, first.model.version, first.value) == ("forest", 3, 0.0)
    assert (second.model.name, second.model.version, second.value) == ("tree", 5, 0.5)
    assert second.decision == Decision(
        policy="majority",
        policy_version=7,
        slot="tree",
        fallback=True,
        asked=["forest", "tree", "mlp", "old"],
        arrived=["forest", "tree"],
        late=["mlp"],
        failed=["old"],
        slack_us=-1500,
    )


def test_a_slot_that_was_not_asked_for_a_record_is_not_named_with_it() -> None:
    answer = wines(3)
    assert answer.policy is not None
    forest, tree, *rest = answer.policy.slots
    canary = (forest, replace(tree, rows=np.array([1])), *rest)
    results = read(scored(replace(answer, policy=replace(answer.policy, slots=canary))))
    assert ["tree" in result.decision.arrived for result in results] == [False, True, False]


@pytest.mark.parametrize("explained", [False, True])
def test_json_is_the_json_of_the_message(explained: bool) -> None:
    what = scored(wines(4, explained=explained))
    for value, message in zip(encoder("json")(what, LIMIT), read(what), strict=True):
        assert json_format.Parse(value, ScoredRecord()) == message
        assert ("answers" in json.loads(value)["decision"]) == explained


def test_json_says_so_in_camel_case_with_numbers() -> None:
    [_, value] = encoder("json")(scored(wines(2)), LIMIT)
    assert json.loads(value)["decision"] == {
        "policy": "majority",
        "policyVersion": 7,
        "slot": "tree",
        "fallback": True,
        "asked": ["forest", "tree", "mlp", "old"],
        "arrived": ["forest", "tree"],
        "late": ["mlp"],
        "failed": ["old"],
        "slackUs": -1500,
    }


def test_an_explained_result_holds_what_each_slot_said() -> None:
    result, _ = read(scored(wines(2, explained=True)))
    forest, tree = result.decision.answers
    assert (forest.slot, forest.model.version, forest.value) == ("forest", 3, 0.0)
    assert (tree.slot, tree.model.version, tree.error) == ("tree", 5, "no")
    [_, second] = read(scored(wines(2, explained=True)))
    assert second.decision.answers[1].label == "5"
    assert second.decision.answers[1].probabilities[0].probability == 1.0


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_what_would_be_too_large_leaves_the_record_out_and_then_the_answers(form: Any) -> None:
    what = scored(wines(2, explained=True))
    [_, whole] = encoder(form)(what, LIMIT)
    [_, short] = encoder(form)(what, len(whole) - 1)
    [_, shorter] = encoder(form)(what, len(short) - 1)
    found = [_read_back(form, value) for value in (whole, short, shorter)]
    assert [bool(each.record) for each in found] == [True, False, False]
    assert [len(each.decision.answers) for each in found] == [2, 2, 0]


def _read_back(form: str, value: bytes) -> ScoredRecord:
    if form == "json":
        return json_format.Parse(value, ScoredRecord())
    return ScoredRecord.FromString(value)


def test_headers_name_the_policy_the_slot_and_its_model() -> None:
    found = [dict(each) for each in headers_of_each(scored(wines(3)))]
    assert [each["model"] for each in found] == [b"forest", b"tree", b"forest"]
    assert [each["fallback"] for each in found] == [b"false", b"true", b"false"]
    policy = {"policy": b"majority", "policy-version": b"7", "slot": b"tree"}
    assert policy.items() <= found[1].items()


def test_without_a_policy_a_result_has_no_decision() -> None:
    answer = replace(wines(2), policy=None)
    assert not any(result.HasField("decision") for result in read(scored(answer)))
    assert all("decision" not in json.loads(v) for v in encoder("json")(scored(answer), LIMIT))
    headers = [dict(each) for each, _ in zip(headers_of_each(scored(answer)), "ab", strict=False)]
    assert {*headers[0], *headers[1]} == {"data-type", "model", "model-version", "model-sha256"}


def test_scores_are_counted_by_the_model_that_gave_them() -> None:
    answer = wines(5)
    choices = choices_of(answer)
    assert choices is not None
    assert choices.count(without=()) == {FOREST: 3, TREE: 2}
    failed = Scored("wine", records(5), answer, {0: NO, 1: NO, 3: NO}, 3000)
    assert failed.scores_by_model() == {FOREST: 2}
