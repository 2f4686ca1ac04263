"""What a policy is: whom it asks, and whose answer it takes, for each record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose answer each record gets.

    `slots` (intp[records]) is a rank, or NOBODY where another answer may still change the outcome,
    or where nobody has a score. `fallback` (bool[records]) marks the records whose answer is not
    the one that the policy wants, but the next best.
    """

    slots: NDArray[np.intp]
    fallback: NDArray[np.bool_]

    @property
    def complete(self) -> bool:
        """Whether all records have an answer."""
        return bool((self.slots != NOBODY).all())


class Batch(Protocol):
    """The records that are to be scored, as far as a policy may look at them."""

    @property
    def count(self) -> int:
        """How many there are."""

    def texts(self, field: str) -> Sequence[str | None]:
        """Return what a field of each record holds, as text; None where it is missing."""


class Policy(Protocol):
    """How the answer of a data type is chosen when several models are on stage.

    Pure, and kept for as long as it is in force. `choose` is asked each time a slot has answered,
    and once more when the time is over: nothing is `waiting` then, and whatever it leaves to NOBODY
    fails. What it chose for a record, it must not change when more answers come.
    """

    def asks(self, batch: Batch) -> NDArray[np.bool_] | None:
        """Return which slots are asked for which records: bool[slots, records]; None: all for all."""

    def choose(self, answers: Answers) -> Choice:
        """Return whose answer each record gets, as far as it is certain."""


def best_ranked(answers: Answers) -> NDArray[np.intp]:
    """Return the best slot that has a score, NOBODY where a better one may still answer."""
    return first_of(answers.good, answers.good | answers.waiting)


def first_of(good: NDArray[np.bool_], candidates: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the first candidate of each record if it is good, else NOBODY."""
    first = candidates.argmax(axis=0)
    return np.where(np.take_along_axis(good, first[None], axis=0)[0], first, NOBODY)
