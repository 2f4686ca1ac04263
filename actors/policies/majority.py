"""What most slots say."""

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers
from repertory.actors.policies.choice import Batch, Choice, best_ranked


class Majority:
    """The label that most slots say, or the median of their values.

    Equal numbers of votes are decided by the best rank among the voters. Of an even number of
    values it is that of the two in the middle whose slot ranks better: so each answer is one that a
    model gave. A label is decided as soon as the votes that are missing cannot change it.

    Where fewer than `quorum` slots have a score when the time is over, the best-ranked one answers,
    as a fallback.
    """

    def __init__(self, quorum: int) -> None:
        self._quorum = quorum

    def asks(self, batch: Batch) -> None:
        """Ask all slots for all records."""

    def choose(self, answers: Answers) -> Choice:
        """Return the best-ranked slots that say what most do."""
        decide = _majority if answers.classifies else _median
        quorate = answers.good.sum(axis=0) >= self._quorum
        slots = np.where(quorate, decide(answers), NOBODY)
        short = ~quorate & ~answers.waiting.any(axis=0)
        slots = np.where(short, best_ranked(answers), slots)
        return Choice(slots, fallback=short & (slots != NOBODY))


def _majority(answers: Answers) -> NDArray[np.intp]:
    labels, good = answers.labels, answers.good
    same = (labels[:, None] == labels[None]) & good[:, None] & good[None]  # slot, slot, record
    votes = same.sum(axis=1)  # for what each slot says; 0 where it says nothing
    leader = votes.argmax(axis=0)  # the best-ranked of equals
    most = np.take_along_axis(votes, leader[None], axis=0)[0]
    agrees = np.take_along_axis(same, leader[None, None], axis=0)[0]
    missing = answers.waiting.sum(axis=0)
    next_vote = np.where(missing > 0, answers.waiting.argmax(axis=0), answers.slots)
    # Each other label may get all the missing votes; so may one that nobody said so far.
    certain = _stays(most, missing, leader < next_vote)
    for slot in range(answers.slots):
        ahead = leader < np.minimum(slot, next_vote)
        beaten = _stays(most, votes[slot] + missing, ahead)
        certain &= beaten | agrees[slot] | ~good[slot]
    return np.where(certain & (most > 0), leader, NOBODY)


def _stays(
    most: NDArray[np.intp], others: NDArray[np.intp], wins_ties: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    stays: NDArray[np.bool_] = (others < most) | ((others == most) & wins_ties)
    return stays


def _median(answers: Answers) -> NDArray[np.intp]:
    values, scored = answers.values, answers.good.sum(axis=0)
    order = values.argsort(axis=0, kind="stable")  # NaN comes last
    low = np.take_along_axis(order, np.maximum(scored - 1, 0)[None] // 2, axis=0)[0]
    high = np.take_along_axis(order, np.minimum(scored // 2, answers.slots - 1)[None], axis=0)[0]
    complete = (scored > 0) & ~answers.waiting.any(axis=0)
    return np.where(complete, np.minimum(low, high), NOBODY)
