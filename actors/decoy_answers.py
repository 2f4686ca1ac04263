"""One answer beside another: what a model says now of an input, and what was said then. Pure."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

# Matrix products of other numbers of records may differ in their last bits.
ROUNDING = 1e-6  # relative
MOST_EXAMPLES = 20


class Answer(NamedTuple):
    """What was said of one record: a value, or a label with `probabilities` of `labels`, or an error."""

    value: float | None = None
    label: str | None = None
    labels: Sequence[str] = ()
    probabilities: Sequence[float] = ()
    error: str | None = None

    def __str__(self) -> str:
        if self.error is not None:
            return f"error {self.error}"
        if self.value is not None:
            return repr(self.value)
        of = dict(zip(self.labels, self.probabilities, strict=True)).get(self.label or "")
        return f"{self.label}" if of is None else f"{self.label} ({of!r})"

    @property
    def outcome(self) -> str:
        """The label, or the error; of a value, that it is one."""
        return f"error {self.error}" if self.error else self.label or "a value"

    def numbers(self) -> list[float]:
        """Return its value, or its probabilities."""
        return list(self.probabilities) if self.value is None else [self.value]


class Likeness(StrEnum):
    """How alike two answers are."""

    IDENTICAL = "identical"  # bit for bit
    CLOSE = "close"  # the same label, and numbers that differ by no more than rounding
    DIFFERENT = "different"


def likeness(one: Answer, other: Answer) -> tuple[Likeness, float]:
    """Return how alike two answers are, and by how much their numbers differ at most."""
    if (one.error, one.label) != (other.error, other.label) or one.error is not None:
        same = one.error is not None and one.error == other.error
        return (Likeness.IDENTICAL if same else Likeness.DIFFERENT), 0.0
    if (one.value is None) != (other.value is None):
        return Likeness.DIFFERENT, 0.0
    ours, theirs = one.numbers(), other.numbers()
    if list(one.labels) != list(other.labels):
        ours, theirs = _side_by_side(one, other)
    if array("d", ours).tobytes() == array("d", theirs).tobytes():
        return Likeness.IDENTICAL, 0.0
    pairs = list(zip(ours, theirs, strict=True))
    difference = max(abs(a - b) for a, b in pairs)
    close = all(a == b or abs(a - b) <= ROUNDING * max(abs(a), abs(b)) for a, b in pairs)
    return (Likeness.CLOSE if close else Likeness.DIFFERENT), difference


def _side_by_side(one: Answer, other: Answer) -> tuple[list[float], list[float]]:
    """Return probabilities of all labels; those that an answer does not name have none."""
    ours = dict(zip(one.labels, one.probabilities, strict=True))
    theirs = dict(zip(other.labels, other.probabilities, strict=True))
    labels = list(dict.fromkeys((*ours, *theirs)))
    return [ours.get(each, 0.0) for each in labels], [theirs.get(each, 0.0) for each in labels]


class Example(NamedTuple):
    """A record whose answers differ."""

    record: str  # batch and row
    then: Answer
    now: Answer


@dataclass(slots=True)
class Comparison:
    """Counts of answers that were compared.

    `agreed` are those whose label, or error, is the same; of values, those that do not differ by
    more than rounding. `unanswered` got nobody's answer then, and are not compared.
    """

    counts: Counter[Likeness] = field(default_factory=Counter)
    agreed: int = 0
    unanswered: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)  # then, now
    largest: float = 0.0
    largest_at: str = ""
    examples: list[Example] = field(default_factory=list)

    @property
    def identical(self) -> int:
        """How many are the same, bit for bit."""
        return self.counts[Likeness.IDENTICAL]

    @property
    def close(self) -> int:
        """How many are the same, but for rounding."""
        return self.counts[Likeness.CLOSE]

    @property
    def different(self) -> int:
        """How many differ."""
        return self.counts[Likeness.DIFFERENT]

    @property
    def compared(self) -> int:
        """How many answers were compared."""
        return self.counts.total()

    def add(self, record: str, then: Answer, now: Answer) -> None:
        """Compare two answers to a record."""
        found, difference = likeness(then, now)
        self.counts[found] += 1
        self.confusion[then.outcome, now.outcome] += 1
        is_value = then.value is not None and now.value is not None
        if found is not Likeness.DIFFERENT or (not is_value and then.outcome == now.outcome):
            self.agreed += 1
        if difference > self.largest:
            self.largest, self.largest_at = difference, record
        if found is Likeness.DIFFERENT and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(Example(record, then, now))
