"""Reports of policies as hypothesis draws them, and in a form that can be compared."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
)
from repertory.errors import FailureCode

NAMES = ("", "forest", "tree", "mlp")
VERSIONS = (3, 4)
FAILED = RecordFailed(FailureCode.SCORING_FAILED, "drawn so")


def model_of(slot: str, version: int) -> ModelRef:
    """Return a version of a slot's model."""
    return ModelRef(slot or "default", version, f"{version:064}")


@st.composite
def columns(draw: st.DrawFn, count: int, model: ModelRef) -> ScoredColumns:
    """Return what a model says of so many records: numbers, or labels with their probabilities."""
    failures = {row: FAILED for row in range(count) if draw(st.booleans())}
    if draw(st.booleans()):
        values = np.array([row + draw(st.floats(0, 1)) for row in range(count)], np.float64)
        return ScoredColumns(model, count, values, (), None, None, failures)
    chosen = np.array([draw(st.integers(0, 1)) for _ in range(count)], np.int32)
    rows = np.stack([1.0 - chosen, chosen], axis=1) if draw(st.booleans()) else None
    return ScoredColumns(model, count, None, ("bad", "good"), chosen, rows, failures)


@st.composite
def _slots(draw: st.DrawFn, name: str, count: int, *, shadow: bool) -> SlotReport:
    state = draw(st.sampled_from(SlotState))
    rows = None
    if state is not SlotState.NOT_ASKED and draw(st.booleans()):
        some = draw(st.sets(st.integers(0, count - 1), min_size=1))
        rows = np.array(sorted(some), np.intp)
    if state is not SlotState.ARRIVED:
        return SlotReport(name, state, shadow, reason=draw(st.sampled_from(["", "it died"])))
    model = model_of(name, draw(st.sampled_from(VERSIONS)))
    own = count if rows is None else len(rows)
    answer = draw(st.none() | columns(own, model))
    return SlotReport(name, state, shadow, model, answer=answer, rows=rows)


@st.composite
def reports(draw: st.DrawFn, count: int, *, shadows: int = 1) -> PolicyReport:
    """Return how answers of a batch of so many records, at least one, were chosen."""
    first_shadow = len(NAMES) - shadows
    slots = tuple(
        draw(_slots(name, count, shadow=place >= first_shadow)) for place, name in enumerate(NAMES)
    )
    able = [_able(slots[:first_shadow], row) for row in range(count)]
    chosen = np.array([draw(st.sampled_from([-1, *each])) for each in able], np.int8)
    fallback = draw(st.none() | st.lists(st.booleans(), min_size=count, max_size=count))
    slack = draw(st.none() | st.integers(-(10**6), 10**6))
    return PolicyReport(
        policy=draw(st.sampled_from(["majority", "quality"])),
        version=draw(st.integers(1, 99)),
        slots=slots,
        chosen=None if (chosen == 0).all() and draw(st.booleans()) else chosen,
        fallback=None if fallback is None else np.array(fallback),
        slack_seconds=None if slack is None else slack / 10**6,
    )


def _able(slots: tuple[SlotReport, ...], row: int) -> list[int]:
    return [
        place for place, each in enumerate(slots) if each.model is not None and asked(each, row)
    ]


def asked(slot: SlotReport, row: int) -> bool:
    """Return whether a slot was asked for a record."""
    if slot.state is SlotState.NOT_ASKED:
        return False
    return slot.rows is None or row in slot.rows.tolist()


def plain(value: Any) -> Any:
    """Return reports and columns with lists for their arrays, so that they can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, PolicyReport | SlotReport | ScoredColumns):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
