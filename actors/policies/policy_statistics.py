"""How often and how fast a policy answers, and whose answers it takes, since it is in force."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from repertory.actors.batch import PolicyReport, SlotState
from repertory.actors.sketches import add_packed, new_sketch, pack
from repertory.actors.statistics import Statistics

# What became of a slot's part that it was asked for: how it is told.
_KEYS = {
    SlotState.ARRIVED: "arrived",
    SlotState.LATE: "late",
    SlotState.FAILED: "failed",
    SlotState.NOT_NEEDED: "notNeeded",
}


class PolicyStatistics:
    """Counts and times of one policy in force. Used by one thread.

    Records are counted for whose answer they got; batches for what became of each slot's part in
    them. Times are milliseconds, as in `Statistics`; a batch's is what it waited for its answer.
    """

    def __init__(self, slots: Sequence[str], shadows: Sequence[str]) -> None:
        """`slots`, one at least, are in the order of the reports, which name the shadows after them."""
        names = [*slots, *shadows]
        self._times = Statistics()
        self._choices = np.zeros(len(slots), np.int64)
        self._slots = list(slots)
        self._fallbacks = 0
        self._states = {name: dict.fromkeys(SlotState, 0) for name in names}
        self._slack = new_sketch()
        self._least_slack: float | None = None
        self._most_slack = float("-inf")

    def count(self, report: PolicyReport, milliseconds: float, failures: int, count: int) -> None:
        """Count a batch of `count` records that was answered; `failures` of them have no score."""
        self._times.count(count, failures, milliseconds)
        self._count_choices(report, failures, count)
        for part in report.slots:
            self._states[part.slot][part.state] += 1
        if report.slack_seconds is not None and count:
            slack = report.slack_seconds * 1000
            self._slack.add(slack, count)
            self._note_slack(slack, slack)

    def _note_slack(self, least: float, most: float) -> None:
        known = self._least_slack
        self._least_slack = least if known is None else min(known, least)
        self._most_slack = max(self._most_slack, most)

    def _count_choices(self, report: PolicyReport, failures: int, count: int) -> None:
        if report.fallback is not None:
            self._fallbacks += int(np.count_nonzero(report.fallback))
        if report.chosen is None:
            self._choices[0] += count - failures
            return
        # One place before the first, for nobody.
        self._choices += np.bincount(report.chosen + 1, minlength=len(self._choices) + 1)[1:]

    @classmethod
    def read(cls, told: Mapping[str, Any], sketches: Mapping[str, Any] | None) -> Self:
        """Return what a policy's part of `/state` and `sketches` tell.

        Without the latter there are no percentiles.
        """
        read = cls(told["ranking"], told["shadows"])
        read._times = Statistics.read(told, sketches and sketches["times"])
        read._choices += [told["choices"][slot] for slot in read._slots]
        read._fallbacks = told["fallbacks"]
        for name, states in read._states.items():
            states |= {state: told["slots"][name][key] for state, key in _KEYS.items()}
        if told["slack"] is not None and sketches is not None:
            add_packed(read._slack, sketches["slack"])
            read._least_slack, read._most_slack = told["slack"]["min"], sketches["mostSlack"]
        return read

    def merge(self, other: Self) -> None:
        """Count what another counted, of the same slots and shadows."""
        self._times.merge(other._times)
        self._choices += other._choices
        self._fallbacks += other._fallbacks
        for name, states in other._states.items():
            for state, count in states.items():
                self._states[name][state] += count
        if other._least_slack is not None:
            self._slack.merge(other._slack)
            self._note_slack(other._least_slack, other._most_slack)

    def sketches(self) -> dict[str, Any]:
        """Return what percentiles are made of, for JSON."""
        return {
            "times": self._times.sketch(),
            "slack": pack(self._slack),
            "mostSlack": None if self._least_slack is None else self._most_slack,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the policy's part of `/state`. Choices are records, what slots did is batches.

        `slack` is what was left of the deadline, by records; null before there was any.
        """
        return self._times.as_json() | {
            "choices": dict(zip(self._slots, self._choices.tolist(), strict=True)),
            "fallbacks": self._fallbacks,
            "slots": {name: _parts(states) for name, states in self._states.items()},
            "slack": self._slack_json(),
        }

    def _slack_of(self, quantile: float) -> float:
        # A sketch may be one per cent off, beyond what there was.
        value = self._slack.get_quantile_value(quantile) or 0.0
        return min(max(value, self._least_slack or value), self._most_slack)

    def _slack_json(self) -> dict[str, float] | None:
        if self._least_slack is None:
            return None
        return {
            "min": self._least_slack,
            "p50": self._slack_of(0.5),
            "p01": self._slack_of(0.01),
        }


def _parts(states: dict[SlotState, int]) -> dict[str, int]:
    asked = sum(states.values()) - states[SlotState.NOT_ASKED]
    return {"asked": asked} | {key: states[state] for state, key in _KEYS.items()}
