"""Gathers what slots say of batches, and has the policy decide. Pure: events in, decisions out."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import RecordFailed, ScoredColumns, SlotState
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
    answers: Answers  # all that had arrived
    failures: Mapping[int, RecordFailed]  # by rank, of those that failed
    slack_seconds: float | None


class _Gathering:
    __slots__ = (
        *("answers", "asked", "count", "deadline", "due", "failed", "missing", "overdue"),
        *("rows", "until"),
    )

    def __init__(
        self, count: int, asked: NDArray[np.bool_], deadline: float | None, until: float | None
    ) -> None:
        self.count = count
        self.asked = asked
        self.deadline = deadline
        self.until = until
        # When it is decided at the latest, as far as is known.
        self.due: float | None = until
        self.overdue = False
        every = [bool(row.all()) for row in asked]
        self.rows = [None if every[slot] else np.flatnonzero(row) for slot, row in enumerate(asked)]
        self.missing = {slot for slot, row in enumerate(asked) if row.any()}
        self.answers: dict[int, SlotAnswer] = {}
        self.failed: dict[int, RecordFailed] = {}


class Collector:
    """One for each policy in force. Used by one thread.

    A batch is kept until it is answered, and nothing of it after that: a slot that answers later is
    told to be late, and that is all.

    A batch is decided when its deadline is near. If no record has an answer by then, it waits for the
    first that comes, until the asker gives it up: a late answer is better than none.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self._clock = clock
        self._open: dict[int, _Gathering] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self,
        number: int,
        count: int,
        asked: NDArray[np.bool_],
        *,
        deadline: float | None,
        until: float | None = None,
        way_back: float = 0.0,
    ) -> None:
        """Expect the answers to a batch; `asked` is bool[slots, records].

        `deadline` is the policy's, and `until` the asker's (monotonic seconds; None: there is none).
        The batch is decided `way_back` seconds before its deadline.
        """
        gathering = self._open[number] = _Gathering(count, asked, deadline, until)
        if deadline is not None:
            gathering.due = deadline - way_back

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

    def due(self) -> Iterable[Decided]:
        """Return the answers to batches whose time is over."""
        now = self._clock()
        late = [n for n, each in self._open.items() if each.due is not None and each.due <= now]
        for number in late:
            gathering = self._open[number]
            gathering.overdue = True
            if gathering.missing and not gathering.answers and _goes_on(gathering, now):
                gathering.due = gathering.until
            elif (decided := self._decide(number, gathering, closing=True)) is not None:
                yield decided

    def next_deadline(self) -> float | None:
        """Return when `due` has something next (monotonic seconds); None without a deadline."""
        return min((each.due for each in self._open.values() if each.due is not None), default=None)

    def _decide(
        self, number: int, gathering: _Gathering, *, closing: bool = False
    ) -> Decided | None:
        waiting = np.zeros_like(gathering.asked)
        if not gathering.overdue:
            for slot in gathering.missing:
                waiting[slot] = gathering.asked[slot]
        slots = range(len(gathering.asked))
        arrived = tuple(gathering.answers.get(slot) for slot in slots)
        answers = Answers(gathering.count, gathering.asked, arrived, waiting)
        choice = self.policy.choose(answers)
        if not (closing or choice.complete) and gathering.missing:
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
            answers=answers,
            failures=gathering.failed,
            slack_seconds=slack,
        )


def _goes_on(gathering: _Gathering, now: float) -> bool:
    """Return whether the asker still waits, and will for longer than the policy would."""
    return gathering.until is not None and now < gathering.until


def _state(gathering: _Gathering, slot: int) -> SlotState:
    if slot in gathering.answers:
        return SlotState.ARRIVED
    if slot in gathering.failed:
        return SlotState.FAILED
    if slot not in gathering.missing:
        return SlotState.NOT_ASKED
    return SlotState.LATE if gathering.overdue else SlotState.NOT_NEEDED
