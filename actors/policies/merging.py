"""From whose answer each record gets to one set of columns."""

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import RecordFailed, ScoredColumns
from repertory.actors.policies.answers import NOBODY, Answers, SlotAnswer
from repertory.actors.policies.choice import Choice
from repertory.errors import FailureCode

UNANSWERED = RecordFailed(FailureCode.DEADLINE_EXCEEDED, "no model on stage answered in time")


def merge(answers: Answers, choice: Choice) -> ScoredColumns:
    """Return each record's score as its chosen slot gave it. `model` is that of the best-ranked one.

    A record that nobody scored has the failure of the best-ranked slot that tried it. There are
    probabilities if all chosen slots give them, since zeros would be a lie, and the extras of all
    slots, NaN where the chosen one has none. Raises ValueError when no slot answered at all.
    """
    arrived = [(slot, each) for slot, each in enumerate(answers.arrived) if each is not None]
    if not arrived:
        raise ValueError("nothing arrived that could be merged")
    chosen_slots = [slot for slot, _ in arrived if (choice.slots == slot).any()]
    best = answers.arrived[chosen_slots[0] if chosen_slots else arrived[0][0]]
    assert best is not None
    failures = _failures(answers, choice, arrived)
    extras = _extras(answers.count, choice, arrived)
    if not answers.classifies:
        values = np.take_along_axis(answers.values, np.maximum(choice.slots, 0)[None], axis=0)[0]
        return ScoredColumns(
            best.columns.model, answers.count, values, (), None, None, failures, extras=extras
        )
    labels = tuple(dict.fromkeys(label for _, each in arrived for label in each.columns.labels))
    index = {label: place for place, label in enumerate(labels)}
    chosen = np.full(answers.count, NOBODY, np.int32)
    chosen_answers = [each for slot, each in arrived if slot in chosen_slots]
    with_probabilities = all(each.columns.probabilities is not None for each in chosen_answers)
    probabilities = np.zeros((answers.count, len(labels))) if with_probabilities else None
    for slot, each in arrived:
        columns = each.columns
        if columns.chosen is None:
            continue
        rows, own = _rows_of(choice.slots == slot, each)
        places = np.array([*(index[label] for label in columns.labels), NOBODY], np.int32)
        chosen[rows] = places[columns.chosen[own]]
        if probabilities is not None and columns.probabilities is not None:
            probabilities[rows[:, None], places[:-1]] = columns.probabilities[own]
    return ScoredColumns(
        best.columns.model,
        answers.count,
        None,
        labels,
        chosen,
        probabilities,
        failures,
        extras=extras,
    )


def _extras(
    count: int, choice: Choice, arrived: list[tuple[int, SlotAnswer]]
) -> dict[str, NDArray[np.float64]]:
    extras: dict[str, NDArray[np.float64]] = {}
    for slot, each in arrived:
        if each.columns.extras:
            rows, own = _rows_of(choice.slots == slot, each)
            for name, extra in each.columns.extras.items():
                extras.setdefault(name, np.full(count, np.nan))[rows] = extra[own]
    return extras


def _rows_of(
    wanted: NDArray[np.bool_], answer: SlotAnswer
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the wanted records as rows of the batch, and as rows of the slot's own columns."""
    if answer.rows is None:
        rows = np.flatnonzero(wanted)
        return rows, rows
    own = np.flatnonzero(wanted[answer.rows])
    return answer.rows[own], own


def _failures(
    answers: Answers, choice: Choice, arrived: list[tuple[int, SlotAnswer]]
) -> dict[int, RecordFailed]:
    failures: dict[int, RecordFailed] = {}
    for row in np.flatnonzero(choice.slots == NOBODY).tolist():
        failures[row] = UNANSWERED
        for _, each in arrived:
            own = row if each.rows is None else int(np.searchsorted(each.rows, row))
            if each.rows is not None and (own == len(each.rows) or each.rows[own] != row):
                continue
            if own in each.columns.failures:
                failures[row] = each.columns.failures[own]
                break
    return failures
