"""What a serving actor answered last, for those who look on: kept by the batch, told by the record."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.actors.messages import StageModel
from repertory.models.model import Outcomes

MOST_TOLD = 10
# Of why a record failed: the page has little room for it, and a record's part in it may be long.
REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class _Batch:
    update: StageModel
    at_ms: int
    milliseconds: float
    count: int
    first: int  # row of the first that is kept
    values: NDArray[np.float64] | None
    labels: tuple[str, ...]
    chosen: NDArray[np.int32] | None
    failures: dict[int, str]


class Recent:
    """The last records that a stage answered, whichever version did. Used by one thread.

    A batch costs the copy of a few numbers; what is told is made when somebody asks.
    """

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque(maxlen=MOST_TOLD)

    def note(self, update: StageModel, outcomes: Outcomes, milliseconds: float) -> None:
        """Note the last records of a batch that was answered after some milliseconds."""
        count = outcomes.count
        if count == 0:
            return
        first = max(0, count - MOST_TOLD)
        failed = outcomes.failures
        # Copies: views would keep whole batches in memory.
        batch = _Batch(
            update=update,
            at_ms=int(time.time() * 1000),
            milliseconds=milliseconds,
            count=count,
            first=first,
            values=None if outcomes.values is None else outcomes.values[first:].copy(),
            labels=outcomes.labels,
            chosen=None if outcomes.chosen is None else outcomes.chosen[first:].copy(),
            failures={row: failed[row].message for row in range(first, count) if row in failed},
        )
        self._batches.append(batch)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the last records, the newest first: when, by which version, what, after how long."""
        return list(islice(self._told(), MOST_TOLD))

    def _told(self) -> Iterator[dict[str, Any]]:
        for batch in reversed(self._batches):
            for row in reversed(range(batch.first, batch.count)):
                yield {
                    "at": batch.at_ms,
                    "name": batch.update.name,
                    "version": batch.update.version,
                    "milliseconds": batch.milliseconds,
                    **_outcome(batch, row),
                }


def _outcome(batch: _Batch, row: int) -> dict[str, Any]:
    if (reason := batch.failures.get(row)) is not None:
        return {"error": reason[:REASON_CHARACTERS]}
    place = row - batch.first
    if batch.values is not None:
        return {"value": float(batch.values[place])}
    number = -1 if batch.chosen is None else int(batch.chosen[place])
    return {"label": batch.labels[number]} if number >= 0 else {"error": "no outcome"}
