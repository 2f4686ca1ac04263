"""What the slots of a data type said of one batch, side by side.

Slots are numbered by rank: 0 is the one that is trusted most. Arrays are [slots, records].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import ScoredColumns
from repertory.models.names import is_confidence

NOBODY = -1
"""Stands for a slot where none is chosen."""


@dataclass(frozen=True, slots=True)
class SlotAnswer:
    """What one slot said. `rows` are the records that it was asked for; None: all of them."""

    columns: ScoredColumns
    rows: NDArray[np.intp] | None = None

    def spread(
        self, column: NDArray[np.generic], count: int, *, empty: float
    ) -> NDArray[np.generic]:
        """Return a column of the slot's records as one of the batch, `empty` where it has none."""
        if self.rows is None:
            return column
        whole = np.full(count, empty, column.dtype)
        whole[self.rows] = column
        return whole


@dataclass(frozen=True)
class Answers:
    """All that is known of a batch at one moment.

    `asked` says which slots were asked for which records, and `waiting` which of these may still
    be answered: both bool[slots, records]. `arrived` has an entry for each slot, None for one that
    did not answer (yet). A slot that failed, or whose time is over, is neither there nor waited for.
    """

    count: int
    asked: NDArray[np.bool_]
    arrived: tuple[SlotAnswer | None, ...]
    waiting: NDArray[np.bool_]

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return len(self.arrived)

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Whether a slot has a score for a record: bool[slots, records]."""
        good = np.zeros((self.slots, self.count), np.bool_)
        for slot, answer in self._answers():
            own = np.ones(answer.columns.count, np.bool_)
            own[list(answer.columns.failures)] = False
            good[slot] = answer.spread(own, self.count, empty=False)
        return good

    @property
    def classifies(self) -> bool:
        """Whether the answers that arrived are labels, not numbers."""
        return all(answer.columns.values is None for _, answer in self._answers())

    @cached_property
    def label_numbers(self) -> dict[str, int]:
        """The number that `labels` has for each label, in rising order."""
        given = (each.columns for _, each in self._answers() if each.columns.chosen is not None)
        known = dict.fromkeys(label for columns in given for label in columns.labels)
        return {label: number for number, label in enumerate(known)}

    @cached_property
    def labels(self) -> NDArray[np.intp]:
        """What each slot says, one number for each label: intp[slots, records]; -1 for none."""
        labels = np.full((self.slots, self.count), -1, np.intp)
        for slot, answer in self._answers():
            columns = answer.columns
            if columns.chosen is None:
                continue
            numbers = [self.label_numbers[label] for label in columns.labels]
            # One more for -1, which stands for no label.
            own = np.array([*numbers, -1], np.intp)[columns.chosen]
            labels[slot] = answer.spread(own, self.count, empty=-1)
        labels[~self.good] = -1
        return labels

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """What each slot says, of a regression: float64[slots, records]; NaN for nothing."""
        values = np.full((self.slots, self.count), np.nan)
        for slot, answer in self._answers():
            if answer.columns.values is not None:
                values[slot] = answer.spread(answer.columns.values, self.count, empty=np.nan)
        values[~self.good] = np.nan
        return values

    def confidences(self, outputs: Sequence[str | None]) -> NDArray[np.float64]:
        """Return how sure slots say that they are: float64[slots, records]; NaN where one does not.

        `outputs` are by rank what of a model says it: a further output, by its public name. Where
        that is None, it is the first that is called like a confidence, or else the largest
        probability. Who lacks the output that is named is silent.
        """
        confidences = np.full((self.slots, self.count), np.nan)
        for slot, answer in self._answers():
            own = _confidence(answer.columns, outputs[slot])
            if own is not None:
                confidences[slot] = answer.spread(own, self.count, empty=np.nan)
        confidences[~self.good] = np.nan
        return confidences

    def _answers(self) -> list[tuple[int, SlotAnswer]]:
        return [(slot, each) for slot, each in enumerate(self.arrived) if each is not None]


def _confidence(columns: ScoredColumns, output: str | None) -> NDArray[np.float64] | None:
    if output is not None:
        return columns.extras.get(output)
    for name, extra in columns.extras.items():
        if is_confidence(name):
            return extra
    if columns.probabilities is None or not columns.count:
        return None
    largest: NDArray[np.float64] = columns.probabilities.max(axis=1)
    return largest
