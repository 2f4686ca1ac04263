"""Gathers what slots say of batches, and has the policy decide. Pure: events in, decisions out."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns, SlotState
from repertory.actors.policies.answers import Answers, SlotAnswer
from repertory.actors.policies.choice import Choice, Policy
from repertory.actors.policies.merging import merge


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to a batch. `columns` is None when no slot answered; then `failure` says why.

    `slack_seconds` is what was left of the budget; None without one. It is negative when the answer
    is late.
    """

    number: int
    columns: ScoredColumns | None
    choice: Choice | None
    failure: RecordFailed | None
    states: tuple[SlotState, ...]  # by rank
    models: tuple[ModelRef | None, ...]  # by rank, of those that arrived
    slack_seconds: float | None


class _Gathering:
    __slots__ = ("answers", "asked", "count", "deadline", "failed", "missing", "rows")

    def __init__(self, count: int, asked: NDArray[np.bool_], deadline: float | None) -> None:
        self.count = count
        self.asked = asked
        self.deadline = deadline
        every: list[bool] = asked.all(axis=1).tolist()
        self.rows = [None if every[slot] else np.flatnonzero(row) for slot, row in enumerate(asked)]
        self.missing = {slot for slot, row in enumerate(asked) if row.any()}
        self.answers: dict[int, SlotAnswer] = {}
        self.failed: dict[int, RecordFailed] = {}


class Collector:
    """One for each policy in force. Used by one thread.

    A batch is kept until it is answered, and nothing of it after that: a slot that answers later is
    told to be late, and that is all.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._open: dict[int, _Gathering] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self, number: int, count: int, asked: NDArray[np.bool_], *, deadline: float | None
    ) -> None:
        """Expect the answers to a batch; `asked` is bool[slots, records], `deadline` monotonic."""
        self._open[number] = _Gathering(count, asked, deadline)

    def arrived(self, number: int, slot: int, columns: ScoredColumns) -> Decided | None:
        """Take what a slot says. Return the answer to the batch if that settles it."""
        gathering = self._open.get(number)
        if gathering is None or slot not in gathering.missing:
            return None
        gathering.missing.remove(slot)
        gathering.answers[slot] = SlotAnswer(columns, gathering.rows[slot])
        return self._decide(number, gathering)

    def failed(self, number: int, slot: int, why: RecordFailed) -> Decided | None:
        """Take a slot's failure of a whole batch. Return the answer if that settles it."""
        gathering = self._open.get(number)
        if gathering is None or slot not in gathering.missing:
            return None
        gathering.missing.remove(slot)
        gathering.failed[slot] = why
        return self._decide(number, gathering)

    def lost(self, slot: int, why: RecordFailed) -> Iterable[Decided]:
        """Take a slot's death: it fails all that it was asked."""
        for number in [n for n, each in self._open.items() if slot in each.missing]:
            if (decided := self.failed(number, slot, why)) is not None:
                yield decided

    def due(self) -> Iterable[Decided]:
        """Return the answers to batches whose time is over."""
        now = self._clock()
        late = [n for n, each in self._open.items() if each.deadline and each.deadline <= now]
        for number in late:
            decided = self._decide(number, self._open[number], closing=True)
            assert decided is not None
            yield decided

    def next_deadline(self) -> float | None:
        """Return when `due` has something next (monotonic seconds); None without a deadline."""
        deadlines = [each.deadline for each in self._open.values() if each.deadline is not None]
        return min(deadlines, default=None)

    def _decide(
        self, number: int, gathering: _Gathering, *, closing: bool = False
    ) -> Decided | None:
        waiting = np.zeros_like(gathering.asked)
        if not closing:
            for slot in gathering.missing:
                waiting[slot] = gathering.asked[slot]
        slots = range(len(gathering.asked))
        arrived = tuple(gathering.answers.get(slot) for slot in slots)
        answers = Answers(gathering.count, gathering.asked, arrived, waiting)
        choice = self._policy.choose(answers)
        if waiting.any() and not choice.complete:
            return None
        del self._open[number]
        return self._decided(number, gathering, answers, choice)

    def _decided(
        self, number: int, gathering: _Gathering, answers: Answers, choice: Choice
    ) -> Decided:
        slack = None
        if gathering.deadline is not None:
            slack = gathering.deadline - self._clock()
        columns = merge(answers, choice) if gathering.answers else None
        failure = None
        if columns is None and gathering.failed:
            failure = gathering.failed[min(gathering.failed)]
        return Decided(
            number=number,
            columns=columns,
            choice=choice if columns is not None else None,
            failure=failure,
            states=tuple(_state(gathering, slot) for slot in range(answers.slots)),
            models=tuple(None if each is None else each.columns.model for each in answers.arrived),
            slack_seconds=slack,
        )


def _state(gathering: _Gathering, slot: int) -> SlotState:
    if slot in gathering.answers:
        return SlotState.ARRIVED
    if slot in gathering.failed:
        return SlotState.FAILED
    return SlotState.LATE if slot in gathering.missing else SlotState.NOT_ASKED
