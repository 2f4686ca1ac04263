"""What two slots say of the same records, counted."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from repertory.actors.policies.answers import Answers, SlotAnswer
from repertory.actors.policies.differences import Differences

MOST_LABELS = 100
"""So many labels a side are counted by name; further ones together, as OTHERS."""
OTHERS = "…"

# Of a batch with more probabilities than this a side, evenly spread records stand for all: a policy
# must not be late because of models that know a thousand labels.
MOST_PROBABILITIES = 2**16

MINUTES = 60
"""For so long, disagreements are kept by minute."""
RECENT_MINUTES = 5

_Both = tuple[Answers, int, int]


class Pair:
    """How often two slots agree, on what they do not, and how far they are apart.

    Labels agree when they are equal, values when they are not more than `tolerance` apart, and a
    label and a value never do. Merged, what two nodes counted is what one would have counted,
    as long as neither side says more than MOST_LABELS labels. Used by one thread.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.records = 0
        self.agreements = 0
        self._confusion: Counter[tuple[str, str]] = Counter()
        self._sides: tuple[set[str], set[str]] = (set(), set())
        self._values = Differences()
        self._signed = 0.0  # the sum of second minus first, of values
        self._probabilities = Differences()
        self._minutes: dict[int, tuple[int, int]] = {}  # records, disagreements

    def count(self, answers: Answers, first: int, second: int, *, minute: int) -> None:
        """Count a batch that both answered; `minute` is when, since the epoch."""
        rows = np.flatnonzero(answers.good[first] & answers.good[second])
        if not rows.size:
            return
        one, two = answers.arrived[first], answers.arrived[second]
        assert one is not None
        assert two is not None
        agreements = 0
        if one.columns.chosen is not None and two.columns.chosen is not None:
            agreements = self._count_labels(answers, first, second, rows)
            self._count_probabilities(one, two, rows, answers.count)
        elif one.columns.values is not None and two.columns.values is not None:
            agreements = self._count_values(answers.values[first], answers.values[second], rows)
        self.records += rows.size
        self.agreements += agreements
        self._count_minute(minute, rows.size, rows.size - agreements)

    def _count_labels(
        self, answers: Answers, first: int, second: int, rows: NDArray[np.intp]
    ) -> int:
        one, two = answers.labels[first][rows], answers.labels[second][rows]
        names = list(answers.label_numbers)
        both, counts = np.unique(one * len(names) + two, return_counts=True)
        for code, count in zip(both.tolist(), counts.tolist(), strict=True):
            self._confuse(names[code // len(names)], names[code % len(names)], count)
        return int(np.count_nonzero(one == two))

    def _confuse(self, one: str, two: str, count: int) -> None:
        key = _known(self._sides[0], one), _known(self._sides[1], two)
        self._confusion[key] += count

    def _count_values(
        self, first: NDArray[np.float64], second: NDArray[np.float64], rows: NDArray[np.intp]
    ) -> int:
        one, two = first[rows], second[rows]
        with np.errstate(invalid="ignore"):  # of two infinite ones
            signed = two - one
        differences = np.abs(signed)
        finite = np.isfinite(signed)
        self._values.add(differences[finite])
        self._signed += float(signed[finite].sum())
        return int(np.count_nonzero((differences <= self._tolerance) | (one == two)))

    def _count_probabilities(
        self, one: SlotAnswer, two: SlotAnswer, rows: NDArray[np.intp], count: int
    ) -> None:
        if one.columns.probabilities is None or two.columns.probabilities is None:
            return
        labels = tuple(dict.fromkeys(one.columns.labels + two.columns.labels))
        rows = rows[:: 1 + rows.size * len(labels) // MOST_PROBABILITIES]
        apart = np.abs(_by_label(one, labels, rows, count) - _by_label(two, labels, rows, count))
        self._probabilities.add(apart.sum(axis=1) / 2)

    def _count_minute(self, minute: int, records: int, disagreements: int) -> None:
        known = self._minutes.get(minute, (0, 0))
        self._minutes[minute] = known[0] + records, known[1] + disagreements
        if len(self._minutes) > MINUTES:
            del self._minutes[min(self._minutes)]

    def merge(self, other: Self) -> None:
        """Count what another pair, of the same slots, counted."""
        self.records += other.records
        self.agreements += other.agreements
        for (one, two), count in other._confusion.items():
            self._confuse(one, two, count)
        self._values.merge(other._values)
        self._signed += other._signed
        self._probabilities.merge(other._probabilities)
        for minute, (records, disagreements) in sorted(other._minutes.items()):
            self._count_minute(minute, records, disagreements)

    def sketch(self) -> dict[str, Any]:
        """Return what `as_json` does not tell and merging needs, for JSON."""
        return {
            "values": self._values.pack(),
            "signed": self._signed,
            "probabilities": self._probabilities.pack(),
        }

    @classmethod
    def read(cls, told: Mapping[str, Any], sketch: Mapping[str, Any]) -> Self:
        """Return what `as_json` and `sketch` tell, to be merged; it does not count any more."""
        found = cls(0.0)
        found.records, found.agreements = told["records"], told["agreements"]
        for one, row in told.get("confusion", {}).items():
            for two, count in row.items():
                found._confuse(one, two, count)
        found._values = Differences.unpack(sketch["values"])
        found._signed = sketch["signed"]
        found._probabilities = Differences.unpack(sketch["probabilities"])
        for each in told["disagreement"]["minutes"]:
            found._count_minute(each["at"] // 60_000, each["records"], each["disagreements"])
        return found

    def as_json(self, *, minute: int) -> dict[str, Any]:
        """Return all of it; `minute` is this one, since the epoch.

        `last5m` is of this minute, as far as it went, and of the five before; null without records.
        """
        recent = [each for at, each in self._minutes.items() if minute - at <= RECENT_MINUTES]
        known = {at: each for at, each in sorted(self._minutes.items()) if minute - at < MINUTES}
        return {
            "records": self.records,
            "agreements": self.agreements,
            "agreementRate": _rate(self.agreements, self.records),
            **({"confusion": self._confusion_json()} if self._confusion else {}),
            "differences": self._differences_json(),
            "disagreement": {
                "last5m": _rate(sum(each[1] for each in recent), sum(each[0] for each in recent)),
                "minutes": [
                    {"at": at * 60_000, "records": each[0], "disagreements": each[1]}
                    for at, each in known.items()
                ],
            },
        }

    def _confusion_json(self) -> dict[str, dict[str, int]]:
        table: dict[str, dict[str, int]] = {}
        for (one, two), count in sorted(self._confusion.items()):
            table.setdefault(one, {})[two] = count
        return table

    def _differences_json(self) -> dict[str, Any] | None:
        # Both only if a slot's models were of both kinds.
        if self._values.count > self._probabilities.count:
            mean = self._signed / self._values.count
            return {"of": "values", "signedMean": mean, **self._values.as_json()}
        if self._probabilities.count:
            return {"of": "probabilities", **self._probabilities.as_json()}
        return None


def _known(side: set[str], label: str) -> str:
    if label not in side:
        if len(side) >= MOST_LABELS or label == OTHERS:
            return OTHERS
        side.add(label)
    return label


def _by_label(
    answer: SlotAnswer, labels: tuple[str, ...], rows: NDArray[np.intp], count: int
) -> NDArray[np.float64]:
    """Return the probabilities of `rows` of the batch: float64[rows, labels]."""
    columns = answer.columns
    assert columns.probabilities is not None
    own = rows
    if answer.rows is not None:
        places = np.zeros(count, np.intp)
        places[answer.rows] = np.arange(len(answer.rows))
        own = places[rows]
    given = columns.probabilities if own.size == columns.count else columns.probabilities[own]
    if labels == columns.labels:
        return given
    numbers = {label: number for number, label in enumerate(labels)}
    whole = np.zeros((own.size, len(labels)))
    whole[:, [numbers[label] for label in columns.labels]] = given
    return whole


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
