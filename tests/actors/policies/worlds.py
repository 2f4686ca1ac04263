"""Answers as hypothesis draws them: plain ones, and the same as columns."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns
from repertory.actors.policies.answers import Answers, SlotAnswer
from repertory.errors import FailureCode

LABELS = ("a", "b", "c")
FAILED = RecordFailed(FailureCode.SCORING_FAILED, "drawn so")
MODEL = ModelRef("m", 1, "0" * 64)


@dataclass(frozen=True)
class Said:
    """What a slot says of a record: a label or a value, its probability, and further outputs."""

    score: str | float
    confidence: float | None = None
    beside: tuple[tuple[str, float], ...] = ()


WAITING, FAILURE = "waiting", "failure"
Cell = Said | str  # WAITING or FAILURE
Table = list[list[Cell]]  # slots, records; a slot that waits, waits for all its records


def tables(
    *speakers: st.SearchStrategy[Said], late: bool = True, slots: int | None = None
) -> st.SearchStrategy[Table]:
    """Return a strategy of what slots (one to five, if not given) say of up to six records.

    Each slot speaks as one of the `speakers`.
    """

    @st.composite
    def draw_table(draw: st.DrawFn) -> Table:
        height = draw(st.integers(1, 5)) if slots is None else slots
        count = draw(st.integers(1, 6))
        table: Table = []
        for _ in range(height):
            cell = st.one_of(draw(st.sampled_from(speakers)), st.just(FAILURE))
            row: st.SearchStrategy[list[Cell]] = st.lists(cell, min_size=count, max_size=count)
            table.append(draw(st.one_of(row, st.just([WAITING] * count)) if late else row))
        return table

    return draw_table()


NOT_ASKED = "not asked"


def answers_of(table: Table) -> Answers:
    """Return a table as the columns that arrive."""
    asked = np.array([[cell != NOT_ASKED for cell in row] for row in table])
    waiting = np.array([[cell == WAITING for cell in row] for row in table])
    arrived = tuple(None if WAITING in row else answer_of(row) for row in table)
    return Answers(len(table[0]), asked, arrived, waiting)


def answer_of(row: list[Cell]) -> SlotAnswer:
    """Return what arrives of a slot: the records that it was asked for."""
    own = [place for place, cell in enumerate(row) if cell != NOT_ASKED]
    columns = columns_of([row[place] for place in own])
    return SlotAnswer(columns, None if len(own) == len(row) else np.array(own, np.intp))


def columns_of(row: list[Cell]) -> ScoredColumns:
    """Return what a slot says as columns, with its labels in an order of its own."""
    failures = {i: FAILED for i, cell in enumerate(row) if not isinstance(cell, Said)}
    said = [cell if isinstance(cell, Said) else Said("a") for cell in row]
    extras = extras_of(said)
    if any(isinstance(cell, Said) and isinstance(cell.score, float) for cell in row):
        values = [each.score if isinstance(each.score, float) else np.nan for each in said]
        return ScoredColumns(
            MODEL, len(row), np.array(values), (), None, None, failures, extras=extras
        )
    labels = tuple(dict.fromkeys(str(each.score) for each in said))
    chosen = np.array([labels.index(str(each.score)) for each in said], np.int32)
    probabilities = None
    if any(each.confidence is not None for each in said):
        probabilities = np.full((len(row), len(labels)), 0.0)
        sure = [each.confidence or 0.0 for each in said]
        probabilities[np.arange(len(row)), chosen] = sure
    return ScoredColumns(
        MODEL, len(row), None, labels, chosen, probabilities, failures, extras=extras
    )


def extras_of(said: list[Said]) -> dict[str, NDArray[np.float64]]:
    """Return what is said beside, by column, NaN where it is not."""
    beside = [dict(each.beside) for each in said]
    names = dict.fromkeys(name for each in beside for name in each)
    return {name: np.array([each.get(name, np.nan) for each in beside]) for name in names}
