"""What a policy's report says of each record, and what the reports of several batches say together.

Pure. A report is by batch (see `PolicyReport`); whoever answers for records wants it by record.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repertory.actors.batch import ModelRef, Outcome, PolicyReport, SlotReport, SlotState

# Of a slot's states in several batches, the first of these stands for them all: so it "arrived"
# only when it answered wherever it was asked.
_WORST_FIRST = (
    *(SlotState.FAILED, SlotState.LATE, SlotState.NOT_NEEDED, SlotState.ARRIVED),
    SlotState.NOT_ASKED,
)


@dataclass(frozen=True, slots=True)
class RecordDecision:
    """How the answer of a record was chosen.

    `slot` is whose answer it is, None when it is nobody's. `model` gave it; where nobody had a
    score, it is the best-ranked model that answered for the record, since the failure is what that
    one said; None when no model answered. `slots` are those that were asked for the record, by
    rank, shadows last.
    """

    slot: str | None
    model: ModelRef | None
    fallback: bool
    slots: tuple[SlotReport, ...]

    def names(self, state: SlotState) -> list[str]:
        """Return the slots that came to a state."""
        return [each.slot for each in self.slots if each.state is state]


def decisions(report: PolicyReport, count: int) -> tuple[list[RecordDecision], list[int]]:
    """Return the different decisions of a batch, and for each record which of them is its own."""
    kinds = np.zeros(count, np.intp)
    if report.chosen is not None:
        kinds += report.chosen
    if report.fallback is not None:
        kinds = kinds * 2 + report.fallback
    for slot in report.slots:
        if slot.rows is not None:
            asked = np.zeros(count, np.bool_)
            asked[slot.rows] = True
            # Numbered anew each time, so that they stay small however many slots there are.
            kinds = np.unique(kinds * 2 + asked, return_inverse=True)[1]
    _, examples, numbers = np.unique(kinds, return_index=True, return_inverse=True)
    return [_decision(report, row) for row in examples.tolist()], numbers.tolist()


def _decision(report: PolicyReport, row: int) -> RecordDecision:
    chosen = report.slot_of(row)
    asked = tuple(
        each
        for each in report.slots
        if each.state is not SlotState.NOT_ASKED and (each.rows is None or row in each.rows)
    )
    answered = (each.model for each in asked if each.model is not None and not each.shadow)
    return RecordDecision(
        slot=None if chosen is None else chosen.slot,
        model=next(answered, None) if chosen is None else chosen.model,
        fallback=report.is_fallback(row),
        slots=asked,
    )


Said = tuple[SlotReport, Outcome]
"""What one slot said of a record."""


def explanations(report: PolicyReport, count: int) -> list[list[Said]]:
    """Return for each record what each slot said of it, by rank; nothing if no slot `answer` is there."""
    said: list[list[Said]] = [[] for _ in range(count)]
    for slot in report.slots:
        if slot.answer is None:
            continue
        rows: Iterable[int] = range(count) if slot.rows is None else slot.rows.tolist()
        for row, outcome in zip(rows, slot.answer.outcomes(), strict=True):
            said[row].append((slot, outcome))
    return said


@dataclass(frozen=True, slots=True)
class Together:
    """What the reports of several batches, all of one policy version, say together.

    `slots` are by rank, shadows last; a slot whose model was swapped between two batches is there
    with each of its versions. They hold no answers. `slack_seconds` is the least one.
    """

    policy: str
    version: int
    slots: tuple[SlotReport, ...]
    slack_seconds: float | None


def together(reports: Sequence[PolicyReport]) -> Together:
    """Return what became of each slot in one or more batches.

    It arrived when it did in all batches in which it was asked; otherwise the worst state counts,
    with its reason.
    """
    by_slot: dict[str, list[SlotReport]] = {}
    for slot in sorted(_slots(reports), key=lambda each: each.shadow):
        by_slot.setdefault(slot.slot, []).append(slot)
    slack = [each.slack_seconds for each in reports if each.slack_seconds is not None]
    return Together(
        policy=reports[0].policy,
        version=reports[0].version,
        slots=tuple(each for parts in by_slot.values() for each in _by_version(parts)),
        slack_seconds=min(slack, default=None),
    )


def _slots(reports: Sequence[PolicyReport]) -> Iterator[SlotReport]:
    for report in reports:
        yield from report.slots


def _by_version(parts: Sequence[SlotReport]) -> Iterator[SlotReport]:
    """Yield a slot once for each version that answered; batches without an answer go to the first."""
    versions: Mapping[ModelRef | None, list[SlotReport]]
    versions = {each.model: [] for each in parts if each.model is not None} or {None: []}
    first = next(iter(versions))
    for each in parts:
        versions[each.model or first].append(each)
    for model, same in versions.items():
        worst = min(same, key=lambda each: _WORST_FIRST.index(each.state))
        yield replace(worst, model=model, answer=None, rows=None)
