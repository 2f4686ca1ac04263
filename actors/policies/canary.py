"""A few records for the new model, and whether it may have them all."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import NOBODY, Answers
from repertory.actors.policies.choice import Batch, Choice, best_ranked

REFERENCE, CANARY = 0, 1
"""The ranks of the two slots."""

# The fractional part of n times this is spread more evenly than chance would, for any stretch of n:
# the golden ratio, see Knuth, The Art of Computer Programming, vol. 3, section 6.4.
_GOLDEN = 0.6180339887498949


class ByShare:
    """Gives a canary its share of the records, whatever they hold, evenly over time."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._seen = 0

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which records of the next batch are the canary's: bool[records]."""
        numbers = np.arange(self._seen, self._seen + batch.count)
        self._seen += batch.count
        return (numbers * _GOLDEN) % 1.0 < self._share


class Sticky:
    """Gives a canary the records whose `field` lies in its share; those without it stay where they are.

    What a field holds is always on the same side, on all nodes and after all restarts, and stays
    with the canary when its share grows. Another `salt` divides in another way.
    """

    def __init__(self, share: float, *, field: str, salt: str) -> None:
        self._share = share
        self._field = field
        self._salt = salt.encode()

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which records of a batch are the canary's: bool[records]."""
        texts = batch.texts(self._field)
        places = [1.0 if text is None else place_of(text, salt=self._salt) for text in texts]
        return np.array(places, np.float64) < self._share


def place_of(text: str, *, salt: bytes) -> float:
    """Return where a text lies between 0 and 1: the first 53 bits of its BLAKE2b."""
    key = blake2b(salt, digest_size=32).digest()
    digest = blake2b(text.encode(), digest_size=8, key=key).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


class Canary:
    """The canary's answer for its records, the reference's for all others.

    The reference is asked for all, the canary for its own (`divide`). The reference stands in, as a
    fallback, where the canary has no score, and the canary where the reference has none.
    """

    def __init__(self, divide: ByShare | Sticky) -> None:
        self._divide = divide

    def asks(self, batch: Batch) -> NDArray[np.bool_]:
        """Ask the reference for all, the canary for its own."""
        own = self._divide(batch)
        return np.stack([np.ones_like(own), own])

    def choose(self, answers: Answers) -> Choice:
        """Return the reference or the canary."""
        own = answers.asked[CANARY]
        instead = best_ranked(answers)
        wanted = np.where(answers.waiting[CANARY], NOBODY, instead)
        wanted = np.where(answers.good[CANARY], CANARY, wanted)
        slots = np.where(own, wanted, instead)
        return Choice(slots, fallback=(slots != NOBODY) & ((slots == CANARY) != own))


def disagreements(
    answers: Answers, pair: Sequence[int] = (REFERENCE, CANARY), *, tolerance: float = 0.0
) -> tuple[int, int]:
    """Return for how many records two slots both have a score, and how many of these differ.

    Values differ when they are more than `tolerance` apart.
    """
    first, second = pair
    both = answers.good[first] & answers.good[second]
    if answers.classifies:
        differ = answers.labels[first] != answers.labels[second]
    else:
        differ = np.abs(answers.values[first] - answers.values[second]) > tolerance
    return int(both.sum()), int((both & differ).sum())
