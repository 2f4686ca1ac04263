"""Who is a canary's, and how its trial ends."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.worlds import FAILURE, Said, answers_of

from repertory.actors.policies.canary import (
    CANARY,
    REFERENCE,
    ByShare,
    Canary,
    Sticky,
    disagreements,
    place_of,
)
from repertory.actors.policies.trial import Decision, Limits, Trial, Verdict

LIMITS = Limits(window_seconds=60, records=100)


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trial(clock: Clock) -> Trial:
    return Trial(LIMITS, clock)


def verdict(decision: Decision | None) -> Verdict | None:
    return None if decision is None else decision.verdict


@dataclass(frozen=True)
class Bottles:
    """A batch of numbered bottles."""

    numbers: range

    @property
    def count(self) -> int:
        return len(self.numbers)

    def texts(self, field: str) -> list[str | None]:
        assert field == "bottle"
        return [f"bottle {number}" if number % 7 else None for number in self.numbers]


def sticky(share: float, salt: str = "wine") -> Sticky:
    return Sticky(share, field="bottle", salt=salt)


def test_a_key_is_always_in_the_same_place() -> None:
    assert place_of("bottle 1", salt=b"wine") == 0.7522490815310601
    assert place_of("bottle 1", salt=b"other") != place_of("bottle 1", salt=b"wine")


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_the_canarys_stays_so_when_its_share_grows(a: float, b: float) -> None:
    batch = Bottles(range(1, 50))
    assert (sticky(min(a, b))(batch) <= sticky(max(a, b))(batch)).all()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_shares_of_keys_and_of_records_hold(share: float) -> None:
    keys = Bottles(range(100_000))
    held = np.array([text is not None for text in keys.texts("bottle")])
    assert sticky(share)(keys)[held].mean() == pytest.approx(share, abs=0.01)
    by_share = ByShare(share)
    parts = [by_share(Bottles(range(1000))) for _ in range(100)]
    assert np.concatenate(parts).mean() == pytest.approx(share, abs=0.001)
    assert all(abs(part.mean() - share) < 0.01 for part in parts)


def test_records_without_the_key_stay_with_the_reference() -> None:
    assert not sticky(1.0)(Bottles(range(0, 70, 7))).any()


def test_nobody_and_everybody_are_shares_too() -> None:
    assert not ByShare(0)(Bottles(range(1000))).any()
    assert ByShare(1)(Bottles(range(1000))).all()
    assert not sticky(0)(Bottles(range(1, 7))).any()
    assert sticky(1)(Bottles(range(1, 7))).all()


def test_the_reference_is_asked_for_all() -> None:
    asked = Canary(ByShare(0.25)).asks(Bottles(range(1000)))
    assert asked[REFERENCE].all()
    assert asked[CANARY].sum() == pytest.approx(250, abs=2)


def test_disagreements_are_counted_where_both_have_a_score() -> None:
    a, b = Said("a"), Said("b")
    assert disagreements(answers_of([[a, a, FAILURE], [a, b, b]])) == (2, 1)
    one, close = Said(1.0), Said(1.05)
    assert disagreements(answers_of([[one], [close]])) == (1, 1)
    assert disagreements(answers_of([[one], [close]]), tolerance=0.1) == (1, 0)


def run(trial: Trial, clock: Clock, *, seconds: int, errors: int = 0, differ: int = 0) -> None:
    """Let ten records a second be scored, some of which fail or differ."""
    for _ in range(seconds):
        trial.scored(records=10, errors=errors, milliseconds=1.0)
        trial.reference_scored(records=90, milliseconds=1.0)
        trial.compared(records=10 - errors, disagreements=differ)
        clock.now += 1


def test_a_canary_that_keeps_to_its_limits_is_promoted_after_a_window_and_not_before(
    trial: Trial, clock: Clock
) -> None:
    run(trial, clock, seconds=59)
    assert trial.decision() is None
    run(trial, clock, seconds=1)
    assert verdict(trial.decision()) is Verdict.PROMOTED


def test_nothing_is_decided_on_few_records(trial: Trial, clock: Clock) -> None:
    trial.scored(records=99, errors=99, milliseconds=1.0)
    assert trial.decision() is None
    clock.now += 61
    assert trial.decision() is None


def test_a_canary_that_fails_is_rolled_back_as_soon_as_that_is_known(
    trial: Trial, clock: Clock
) -> None:
    run(trial, clock, seconds=10, errors=1)
    decision = trial.decision()
    assert decision == Decision(Verdict.ROLLED_BACK, "10 of 100 records failed; the limit is 1.00%")


def test_a_canary_that_says_something_else_is_rolled_back(trial: Trial, clock: Clock) -> None:
    run(trial, clock, seconds=10, differ=1)
    assert trial.decision() is None  # one in ten is the limit
    run(trial, clock, seconds=1, differ=2)
    assert verdict(trial.decision()) is Verdict.ROLLED_BACK


def test_a_canary_that_is_slow_is_rolled_back(trial: Trial, clock: Clock) -> None:
    run(trial, clock, seconds=10)
    trial.scored(records=10, errors=0, milliseconds=1.4)
    assert trial.decision() is None
    trial.scored(records=10, errors=0, milliseconds=2.0)
    decision = trial.decision()
    assert verdict(decision) is Verdict.ROLLED_BACK
    assert decision is not None
    assert "2.00 times the reference's" in decision.reason or "p99 is 2.0 ms" in decision.reason


def test_what_is_older_than_the_window_counts_no_more(trial: Trial, clock: Clock) -> None:
    trial.scored(records=90, errors=90, milliseconds=1.0)
    clock.now += 61
    run(trial, clock, seconds=60)
    assert verdict(trial.decision()) is Verdict.PROMOTED


def test_a_trial_may_go_on_for_ever(clock: Clock) -> None:
    trial = Trial(Limits(window_seconds=60, records=100, promotes=False), clock)
    run(trial, clock, seconds=600)
    assert trial.decision() is None
