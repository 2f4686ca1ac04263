"""The answer that is surest of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers
from repertory.actors.policies.choice import Batch, Choice, best_ranked


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a slot is right (0 to 1) at each confidence that it states.

    Both rise; between two points it is linear, and level beyond the first and the last.
    """

    stated: Sequence[float] = (0.0, 1.0)
    right: Sequence[float] = (0.0, 1.0)

    def apply(self, confidences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return stated confidences as calibrated ones; NaN stays."""
        return np.interp(confidences, self.stated, self.right)

    @property
    def highest(self) -> float:
        """The most that can come out."""
        return self.right[-1]


class BestQuality:
    """The answer with the highest calibrated confidence; equal ones are decided by rank.

    A record is done as soon as no slot that is missing could be surer. One that does not say how
    sure it is answers only when no other does, by rank, as a fallback.
    """

    def __init__(self, calibrations: Sequence[Calibration]) -> None:
        self._calibrations = calibrations  # by rank

    def asks(self, batch: Batch) -> None:
        """Ask all slots for all records."""

    def choose(self, answers: Answers) -> Choice:
        """Return the slots that are surest."""
        sure = np.full((answers.slots, answers.count), -1.0)
        for slot, calibration in enumerate(self._calibrations):
            own = calibration.apply(answers.confidences[slot])
            sure[slot] = np.where(np.isnan(own), -1.0, own)
        slots = sure.argmax(axis=0)  # the best-ranked of equals
        highest = np.take_along_axis(sure, slots[None], axis=0)[0]
        certain = highest >= 0
        for slot, calibration in enumerate(self._calibrations):
            behind = (calibration.highest < highest) | (
                (calibration.highest == highest) & (slots < slot)
            )
            certain &= behind | ~answers.waiting[slot]
        silent = (highest < 0) & ~answers.waiting.any(axis=0)
        chosen = np.where(certain, slots, NOBODY)
        chosen = np.where(silent, best_ranked(answers), chosen)
        return Choice(chosen, fallback=silent & (chosen != NOBODY))
