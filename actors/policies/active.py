"""A policy in force: it decides, compares, counts, and tries its canary."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
)
from repertory.actors.policies.answers import NOBODY
from repertory.actors.policies.canary import CANARY, REFERENCE, ByShare, Canary, disagreements
from repertory.actors.policies.choice import Batch
from repertory.actors.policies.collector import Collector, Decided
from repertory.actors.policies.comparison import Comparison
from repertory.actors.policies.guard import Guard
from repertory.actors.policies.kinds import CanaryOptions, patience_ms
from repertory.actors.policies.policy_statistics import PolicyStatistics
from repertory.actors.policies.settings import PolicySettings, make_policy
from repertory.actors.policies.trial import Decision, Trial, Verdict
from repertory.journal.versions import DEFAULT_SLOT

# A deadline is the caller's: so much of it is left for the answer's way to it, but no larger part.
WAY_BACK_SECONDS, WAY_BACK_PART = 0.002, 0.1

Rows = NDArray[np.intp] | None
"""The records of a batch that a slot was asked for; None: all."""


class Verdicts(NamedTuple):
    """How a canary's trial ended, and the policy that follows from it."""

    decision: Decision
    settings: PolicySettings


@dataclass(slots=True)
class _Open:
    """What is noted of a batch until it is answered, by place."""

    rows: list[NDArray[np.intp] | None]
    instead: NDArray[np.bool_] | None  # bool[records]: another slot was to be asked
    milliseconds: dict[int, float] = field(default_factory=dict)
    shadows: dict[int, ScoredColumns | RecordFailed] = field(default_factory=dict)


class ActivePolicy:
    """One for each policy that is, or was, in force. Used by one thread.

    Slots and then shadows have places: 0 is the best-ranked slot. `position` is that of the policy
    in the journal. Raises InvalidRequest when the settings make no policy.
    """

    def __init__(
        self,
        settings: PolicySettings,
        *,
        position: int,
        since_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.position = position
        self.slots = settings.slots or (DEFAULT_SLOT,)
        self.names = (*self.slots, *settings.shadows)
        self._since_ms = since_ms
        self._clock = clock
        self._policy = Guard(make_policy(settings), slots=len(self.slots))
        patience = patience_ms(settings)
        self._patience = None if patience is None else patience / 1000
        self.collector = Collector(self._policy, clock)
        self.statistics = PolicyStatistics(self.slots, settings.shadows)
        self._trial: Trial | None = None
        if settings.policy == "canary":
            limits = CanaryOptions.model_validate(settings.options).limits()
            self._trial = Trial(limits, clock)
        self.ended: Decision | None = None
        self._comparison: Comparison | None = None
        if len(self.names) > 1:
            self._comparison = Comparison(self.names, tolerance=settings.tolerance, clock=clock)
        self._open: dict[int, _Open] = {}

    @property
    def passes_through(self) -> bool:
        """Whether the one slot's reply is the answer."""
        return len(self.names) == 1

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a decision."""
        return not len(self.collector)

    # --- starting

    def asks(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Return who is asked for which records: bool[places, records]; None: all for all."""
        asked = self._policy.asks(batch)
        if asked is None or not self.settings.shadows:
            return asked
        shadows = np.ones((len(self.settings.shadows), batch.count), np.bool_)
        return np.concatenate([asked, shadows])

    def deadline(self, began: float) -> float | None:
        """Return by when a batch that began then is answered; None: when its asker gives it up."""
        return None if self._patience is None else began + self._patience

    def until(self, place: int, began: float, until: float) -> float:
        """Return when an answer of a slot is of no use any more.

        The last-ranked slot's is of use for as long as the asker waits: it is the fallback.
        """
        deadline = self.deadline(began)
        is_last = place == len(self.slots) - 1
        return until if deadline is None or is_last else min(until, deadline)

    def begin(
        self,
        number: int,
        count: int,
        asked: NDArray[np.bool_] | None,
        *,
        deadline: float | None,
        until: float,
        instead: NDArray[np.bool_] | None = None,
    ) -> None:
        """Expect the answers to a batch.

        `instead` marks the records for which a slot is asked that the policy would not have asked.
        """
        rows: list[NDArray[np.intp] | None] = [None] * len(self.names)
        if asked is None:
            asked = np.ones((len(self.names), count), np.bool_)
        else:
            rows = [None if each.all() else np.flatnonzero(each) for each in asked]
        self._open[number] = _Open(rows, instead)
        own = asked[: len(self.slots)]
        way_back = min(WAY_BACK_SECONDS, WAY_BACK_PART * (self._patience or 0.0))
        self.collector.begin(number, count, own, deadline=deadline, until=until, way_back=way_back)
        if self._comparison is not None:
            self._comparison.begin(number, count, asked)

    # --- gathering

    def arrived(
        self, number: int, place: int, columns: ScoredColumns, milliseconds: float, rows: Rows
    ) -> Decided | None:
        """Take what a slot says of `rows`. Return the answer to the batch if that settles it."""
        if self._comparison is not None:
            self._comparison.arrived(number, place, columns, rows)
        self._note(number, place, milliseconds, columns)
        return None if self._is_shadow(place) else self.collector.arrived(number, place, columns)

    def failed(
        self, number: int, place: int, why: RecordFailed, milliseconds: float
    ) -> Decided | None:
        """Take a slot's failure of all that it was asked. Return the answer if that settles it."""
        if self._comparison is not None:
            self._comparison.failed(number, place)
        self._note(number, place, milliseconds, why)
        return None if self._is_shadow(place) else self.collector.failed(number, place, why)

    def _is_shadow(self, place: int) -> bool:
        return place >= len(self.slots)

    def _note(
        self, number: int, place: int, milliseconds: float, what: ScoredColumns | RecordFailed
    ) -> None:
        if (noted := self._open.get(number)) is not None:
            noted.milliseconds[place] = milliseconds
            if self._is_shadow(place):
                noted.shadows[place] = what

    # --- telling

    def close(self, decided: Decided, *, explain: bool) -> PolicyReport:
        """Note that a batch is decided, forget it, and return what is to be told of it."""
        noted = self._open.pop(decided.number)
        if self._trial is not None:
            self._try(decided, noted)
        slots = [
            self._slot_report(place, decided, noted.rows[place], explain)
            for place in range(len(self.slots))
        ]
        places = range(len(self.slots), len(self.names))
        slots += [self._shadow_report(place, noted, explain) for place in places]
        choice = decided.choice
        fallback = None if choice is None else choice.fallback
        if choice is not None and noted.instead is not None:
            fallback = choice.fallback | (noted.instead & (choice.slots != NOBODY))
        return PolicyReport(
            policy=self.settings.policy,
            version=self.position,
            slots=tuple(slots),
            chosen=None if choice is None else choice.slots.astype(np.int8),
            fallback=fallback if fallback is not None and fallback.any() else None,
            slack_seconds=decided.slack_seconds,
        )

    def report_of_only(self, model: ModelRef) -> PolicyReport:
        """Return what is to be told of a batch that went through to the one slot."""
        only = SlotReport(self.slots[0], SlotState.ARRIVED, model=model)
        return PolicyReport(self.settings.policy, self.position, (only,))

    def _slot_report(self, place: int, decided: Decided, rows: Rows, explain: bool) -> SlotReport:
        state, failed = decided.states[place], decided.failures.get(place)
        answer = decided.answers.arrived[place]
        return SlotReport(
            self.slots[place],
            state,
            model=None if answer is None else answer.columns.model,
            reason="" if failed is None else failed.message,
            answer=answer.columns if answer is not None and explain else None,
            rows=None if state is SlotState.NOT_ASKED else rows,
        )

    def _shadow_report(self, place: int, noted: _Open, explain: bool) -> SlotReport:
        name, what = self.names[place], noted.shadows.get(place)
        if what is None:
            return SlotReport(name, SlotState.NOT_NEEDED, shadow=True)
        if isinstance(what, RecordFailed):
            return SlotReport(name, SlotState.FAILED, shadow=True, reason=what.message)
        return SlotReport(
            name,
            SlotState.ARRIVED,
            shadow=True,
            model=what.model,
            answer=what if explain else None,
            rows=noted.rows[place],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the policy's part of `/state`."""
        return {
            "name": self.settings.policy,
            "version": self.position,
            "decider": type(self._policy.policy).__name__,
            "trouble": self._policy.trouble,
            "since": self._since_ms,
            "timeout": None if self._patience is None else self._patience * 1000,
            "ranking": list(self.slots),
            "shadows": list(self.settings.shadows),
            "decoy": self.settings.decoy,
            "trial": None if self._trial is None else self._trial_json(),
            **self.statistics.as_json(),
        }

    def sketches(self) -> dict[str, Any]:
        """Return what is needed beside it to merge it with that of other nodes."""
        trial = {} if self._trial is None else self._trial.sketches()
        return {**self.statistics.sketches(), **trial}

    def comparison_sketches(self) -> list[dict[str, Any]]:
        """Return what is needed beside `comparison_json` to merge it, by pair."""
        return [] if self._comparison is None else self._comparison.sketches()

    def comparison_json(self) -> dict[str, Any]:
        """Return what `/compare` says; no pairs of one slot."""
        pairs = {"pairs": []} if self._comparison is None else self._comparison.as_json()
        return {"policy": self.settings.policy, "version": self.position, **pairs}

    # --- what is due

    def tick(self) -> None:
        """Compare what waited long enough. To be called some times a second."""
        if self._comparison is not None:
            self._comparison.expire()

    # --- the canary's trial

    def verdict(self) -> Verdicts | None:
        """Return how the canary's trial ended, once; a canary that failed gets no more records."""
        if self._trial is None or self.ended is not None:
            return None
        self.ended = self._trial.decision()
        if self.ended is None:
            return None
        promoted = self.ended.verdict is Verdict.PROMOTED
        if not promoted:
            self._policy.policy = Canary(ByShare(0.0))
        return Verdicts(self.ended, self._successor(CANARY if promoted else REFERENCE))

    def _successor(self, place: int) -> PolicySettings:
        settings = self.settings
        return PolicySettings(
            policy="latest",
            slots=(self.slots[place],),
            shadows=settings.shadows,
            decoy=settings.decoy,
            tolerance=settings.tolerance,
        )

    def _try(self, decided: Decided, noted: _Open) -> None:
        assert self._trial is not None
        answers = decided.answers
        own = answers.asked[CANARY]
        if records := int(own.sum()):
            # What the reference cannot score either is no fault of the canary's.
            excused = ~answers.good[REFERENCE] if answers.arrived[REFERENCE] else ~own
            errors = int((own & ~answers.good[CANARY] & ~excused).sum())
            taken = noted.milliseconds.get(CANARY, self._waited(decided))
            self._trial.scored(records=records, errors=errors, milliseconds=taken)
            compared, differ = disagreements(answers, tolerance=self.settings.tolerance)
            self._trial.compared(records=compared, disagreements=differ)
        if (taken_by_reference := noted.milliseconds.get(REFERENCE)) is not None:
            self._trial.reference_scored(records=answers.count, milliseconds=taken_by_reference)

    def _waited(self, decided: Decided) -> float:
        """Return for how long (ms) a canary was waited for that did not answer."""
        patience = self._patience or 0.0
        return (patience - (decided.slack_seconds or 0.0)) * 1000

    def _trial_json(self) -> dict[str, Any]:
        assert self._trial is not None
        ended = self.ended
        return {
            **self._trial.as_json(),
            "verdict": None if ended is None else ended.verdict,
            "reason": None if ended is None else ended.reason,
        }
