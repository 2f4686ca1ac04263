"""A policy of another package that is defective costs no answer."""

from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns
from repertory.actors.policies import settings as settings_module
from repertory.actors.policies.answers import NOBODY, Answers, SlotAnswer
from repertory.actors.policies.choice import Choice
from repertory.actors.policies.guard import Guard
from repertory.actors.policies.settings import PolicySettings, make_policy
from repertory.errors import FailureCode, InvalidRequest, ProtocolError

NOBODYS_FALLBACK = np.zeros(2, np.bool_)
_FAILED = RecordFailed(FailureCode.SCORING_FAILED, "no score")


class Records:
    """Two records."""

    count = 2

    def texts(self, field: str) -> list[str | None]:
        raise ProtocolError(f"{field} cannot be read")


class Scripted:
    """A policy that returns what it is given, or raises it."""

    def __init__(self, asked: Any = None, choice: Any = None) -> None:
        self._asked, self._choice = asked, choice

    def asks(self, batch: Any) -> Any:
        return self._asked(batch) if callable(self._asked) else self._asked

    def choose(self, answers: Answers) -> Any:
        if isinstance(self._choice, Exception):
            raise self._choice
        return self._choice


def said(failed: int) -> Answers:
    """Two slots, two records: the best slot has no score for the record `failed`."""
    labels = np.zeros(2, np.int32)
    columns = [
        ScoredColumns(ModelRef("m", 1, ""), 2, None, ("5",), labels, None, failures)
        for failures in ({failed: _FAILED}, {})
    ]
    asked = np.ones((2, 2), np.bool_)
    answers = (SlotAnswer(columns[0]), SlotAnswer(columns[1]))
    return Answers(2, asked, answers, np.zeros_like(asked))


@pytest.mark.parametrize(
    "choice",
    [
        KeyError("a defect"),
        None,
        Choice(np.array([0, 0]), NOBODYS_FALLBACK),  # a slot without a score
        Choice(np.array([2, 2]), NOBODYS_FALLBACK),  # no slot
        Choice(np.array([-2, 1]), NOBODYS_FALLBACK),
        Choice(np.array([1, 1, 1]), NOBODYS_FALLBACK),
        Choice(np.array([0.5, 1]), NOBODYS_FALLBACK),
    ],
)
def test_the_best_ranked_answers_where_a_policy_fails_to_choose(choice: Any) -> None:
    guard = Guard(Scripted(choice=choice), slots=2)
    chosen = guard.choose(said(failed=1))
    assert chosen.slots.tolist() == [0, 1]
    assert chosen.fallback.tolist() == [True, True]
    assert guard.trouble is not None
    assert guard.trouble.startswith("choose failed, the best-ranked slot answers: ")


def test_a_choice_that_is_sound_is_left_as_it_is() -> None:
    choice = Choice(np.array([NOBODY, 1]), NOBODYS_FALLBACK)
    guard = Guard(Scripted(choice=choice), slots=2)
    assert guard.choose(said(failed=0)).slots.tolist() == [NOBODY, 1]
    assert guard.trouble is None


@pytest.mark.parametrize("asked", [lambda _: 1 / 0, np.ones((3, 2), np.bool_), [[True] * 2] * 2])
def test_all_slots_are_asked_where_a_policy_fails_to_say_which(asked: Any) -> None:
    guard = Guard(Scripted(asked), slots=2)
    assert guard.asks(Records()) is None
    assert "asks failed" in str(guard.trouble)


def test_a_batch_that_cannot_be_read_is_no_fault_of_the_policy() -> None:
    guard = Guard(Scripted(lambda batch: batch.texts("alcohol")), slots=2)
    with pytest.raises(ProtocolError):
        guard.asks(Records())
    assert guard.trouble is None


def raises(_: PolicySettings) -> Scripted:
    """A maker with a defect."""
    raise TypeError("a defect")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere_at_all:make", "cannot be made: ModuleNotFoundError: No module named"),
        (f"{__name__}:raises", "cannot be made: TypeError: a defect"),
    ],
)
def test_a_package_that_is_broken_is_told_and_harms_no_other(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = dict(settings_module.known_policies())
    broken = EntryPoint("broken", value, settings_module.ENTRY_POINTS)
    monkeypatch.setattr(settings_module, "known_policies", lambda: kinds | {"broken": broken})
    with pytest.raises(InvalidRequest, match=message):
        make_policy(PolicySettings(policy="broken"))
    make_policy(PolicySettings(policy="latest"))
