"""The answer that is surest of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers
from repertory.actors.policies.choice import Batch, Choice, best_ranked

_SILENT = -np.inf
_UNSUREST = np.finfo(np.float64).min


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a slot is right (0 to 1) at each confidence that it states.

    Both rise; between two points it is linear, and level beyond the first and the last. Without any
    point a confidence stays as it is.
    """

    stated: Sequence[float] = (0.0, 1.0)
    right: Sequence[float] = (0.0, 1.0)

    def apply(self, confidences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return stated confidences as calibrated ones; NaN stays."""
        if not self.stated:
            return confidences
        return np.interp(confidences, self.stated, self.right)

    @property
    def highest(self) -> float:
        """The most that can come out."""
        return self.right[-1] if self.right else np.inf


AS_STATED = Calibration((), ())
"""Of confidences whose scale is not known."""


class BestQuality:
    """The answer with the highest calibrated confidence; equal ones are decided by rank.

    A record is done as soon as no slot that is missing could be surer: one whose scale is not known
    always could. A slot that does not say how sure it is answers only when no other does, by rank,
    as a fallback.
    """

    def __init__(
        self, calibrations: Sequence[Calibration], outputs: Sequence[str | None] | None = None
    ) -> None:
        """Take calibrations and `outputs` by rank; for the latter see `Answers.confidences`."""
        self._calibrations = calibrations
        self._outputs = outputs or [None] * len(calibrations)

    def asks(self, batch: Batch) -> None:
        """Ask all slots for all records."""

    def choose(self, answers: Answers) -> Choice:
        """Return the slots that are surest."""
        sure = self._sure(answers)
        slots = sure.argmax(axis=0)  # the best-ranked of equals
        highest = np.take_along_axis(sure, slots[None], axis=0)[0]
        certain = highest > _SILENT
        for slot, calibration in enumerate(self._calibrations):
            behind = (calibration.highest < highest) | (
                (calibration.highest == highest) & (slots < slot)
            )
            certain &= behind | ~answers.waiting[slot]
        silent = (highest == _SILENT) & ~answers.waiting.any(axis=0)
        chosen = np.where(certain, slots, NOBODY)
        chosen = np.where(silent, best_ranked(answers), chosen)
        return Choice(chosen, fallback=silent & (chosen != NOBODY))

    def _sure(self, answers: Answers) -> NDArray[np.float64]:
        """Return how sure the slots are, calibrated; _SILENT where one does not say."""
        sure = answers.confidences(self._outputs)
        for slot, calibration in enumerate(self._calibrations):
            sure[slot] = np.maximum(calibration.apply(sure[slot]), _UNSUREST)  # NaN stays
        sure[np.isnan(sure)] = _SILENT
        return sure
