"""Asks a policy, which may come from another package, and stands in for it where it fails."""

from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers
from repertory.actors.policies.choice import Batch, Choice, Policy, best_ranked
from repertory.errors import ProtocolError

log = structlog.get_logger(__name__)


class Guard:
    """A policy whose defects cost no answer: the best-ranked slot answers then, as a fallback.

    `trouble` is its last defect, None as long as it has none. A new one is logged.
    """

    def __init__(self, policy: Policy, *, slots: int) -> None:
        self.policy = policy
        self.trouble: str | None = None
        self._slots = slots

    def asks(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Return whom the policy asks; all slots if it fails to say.

        Raises ProtocolError when the batch cannot be read.
        """
        try:
            asked = self.policy.asks(batch)
            if asked is None:
                return None
            return _checked(asked, np.bool_, (self._slots, batch.count))
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, records are answered
            self._note("asks", error)
            return None

    def choose(self, answers: Answers) -> Choice:
        """Return what the policy chooses."""
        try:
            return _check(self.policy.choose(answers), answers)
        except Exception as error:  # noqa: BLE001 - whatever it is, records are answered
            self._note("choose", error)
        slots = best_ranked(answers)
        return Choice(slots, fallback=slots != NOBODY)

    def _note(self, method: str, error: Exception) -> None:
        trouble = f"{method} failed, the best-ranked slot answers: {type(error).__name__}: {error}"
        if trouble != self.trouble:
            log.error("a policy is defective", why=trouble, exc_info=error)
        self.trouble = trouble


def _check(choice: Choice, answers: Answers) -> Choice:
    """Return a choice of slots that have a score. Raises ValueError, or what else may be wrong."""
    slots = _checked(choice.slots, np.intp, (answers.count,))
    fallback = _checked(choice.fallback, np.bool_, (answers.count,))
    chosen = slots != NOBODY
    if not (slots[chosen] >= 0).all() or not answers.good[slots[chosen], chosen].all():
        raise ValueError("it chose a slot that has no score")
    return Choice(slots, fallback)


def _checked(array: NDArray[Any], dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.shape != shape or not np.can_cast(array.dtype, dtype):
        raise ValueError(f"{array.dtype}{list(array.shape)}, not {dtype.__name__}{list(shape)}")
    return array.astype(dtype, copy=False)
