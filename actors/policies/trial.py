"""The trial of a canary: when it is promoted, and when it is rolled back."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ddsketch import DDSketch

from repertory.actors.sketches import new_sketch, pack

# A window is this many pieces, the oldest of which leaves it whole.
PIECES = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a canary must keep to, over the last `window_seconds`.

    Nothing is decided on fewer than `records` of its own in the window. It is promoted when it has
    kept to all limits for a whole window. Rates are of records, 0 to 1.
    """

    window_seconds: float = 300.0
    records: int = 1000
    error_rate: float = 0.01
    disagreement_rate: float = 0.1
    p99_ratio: float = 1.5  # of the canary's batches to the reference's
    promotes: bool = True


class Verdict(StrEnum):
    """How a trial ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of a trial, and why."""

    verdict: Verdict
    reason: str


@dataclass(slots=True)
class _Piece:
    since: float
    records: int = 0
    errors: int = 0
    compared: int = 0
    disagreements: int = 0
    canary: DDSketch = field(default_factory=new_sketch)
    reference: DDSketch = field(default_factory=new_sketch)


class Trial:
    """What a canary did in a sliding window. Used by one thread."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._begun = clock()
        self._pieces: deque[_Piece] = deque()

    def scored(self, *, records: int, errors: int, milliseconds: float) -> None:
        """Note a batch of the canary's: how many records, how many of them failed, how long."""
        piece = self._piece()
        piece.records += records
        piece.errors += errors
        piece.canary.add(milliseconds, records)

    def reference_scored(self, *, records: int, milliseconds: float) -> None:
        """Note a batch of the reference's."""
        self._piece().reference.add(milliseconds, records)

    def compared(self, *, records: int, disagreements: int) -> None:
        """Note how many records both scored, and on how many of them they differ."""
        piece = self._piece()
        piece.compared += records
        piece.disagreements += disagreements

    def decision(self) -> Decision | None:
        """Return how the trial ends, None while it goes on."""
        limits = self._limits
        self._forget()
        records = sum(piece.records for piece in self._pieces)
        if records < limits.records:
            return None
        if (fault := self._fault(records)) is not None:
            return Decision(Verdict.ROLLED_BACK, fault)
        if not limits.promotes or self._clock() - self._begun < limits.window_seconds:
            return None
        return Decision(
            Verdict.PROMOTED,
            f"kept to all limits for {limits.window_seconds:g} s, over {records:,} records",
        )

    def as_json(self) -> dict[str, Any]:
        """Return what the window holds."""
        self._forget()
        pieces, now = self._pieces, self._clock()
        return {
            "seconds": now - self._begun,
            "records": sum(piece.records for piece in pieces),
            "errors": sum(piece.errors for piece in pieces),
            "compared": sum(piece.compared for piece in pieces),
            "disagreements": sum(piece.disagreements for piece in pieces),
            "p99": self._p99("canary"),
            "referenceP99": self._p99("reference"),
        }

    def sketches(self) -> dict[str, Any]:
        """Return what the percentiles are made of, for JSON."""
        self._forget()
        return {
            "canary": pack(self._sketch("canary")),
            "reference": pack(self._sketch("reference")),
        }

    def _fault(self, records: int) -> str | None:
        limits = self._limits
        errors = sum(piece.errors for piece in self._pieces)
        if errors / records > limits.error_rate:
            return _beyond(f"{errors:,} of {records:,} records failed", limits.error_rate)
        compared = sum(piece.compared for piece in self._pieces)
        differ = sum(piece.disagreements for piece in self._pieces)
        if compared and differ / compared > limits.disagreement_rate:
            what = f"{differ:,} of {compared:,} answers differ from the reference's"
            return _beyond(what, limits.disagreement_rate)
        mine, other = self._p99("canary"), self._p99("reference")
        if mine is not None and other is not None and mine > limits.p99_ratio * other:
            return (
                f"its p99 is {mine:.1f} ms, {mine / other:.2f} times the reference's {other:.1f} ms;"
                f" the limit is {limits.p99_ratio:g} times"
            )
        return None

    def _p99(self, whose: str) -> float | None:
        value: float | None = self._sketch(whose).get_quantile_value(0.99)
        return value

    def _sketch(self, whose: str) -> DDSketch:
        merged = new_sketch()
        for piece in self._pieces:
            merged.merge(getattr(piece, whose))
        return merged

    def _piece(self) -> _Piece:
        now = self._clock()
        if not self._pieces or now - self._pieces[-1].since >= self._limits.window_seconds / PIECES:
            self._pieces.append(_Piece(now))
            self._forget()
        return self._pieces[-1]

    def _forget(self) -> None:
        oldest = self._clock() - self._limits.window_seconds
        while self._pieces and self._pieces[0].since < oldest:
            self._pieces.popleft()


def _beyond(what: str, limit: float) -> str:
    return f"{what}; the limit is {limit:.2%}"
