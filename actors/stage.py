"""What a serving actor does with its model, without any socket or actor.

A stage scores batches with the model on it, and swaps that model between two batches.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.actors.delay import Delay
from repertory.actors.messages import ClearStage, Shard, StageModel
from repertory.actors.recent import Recent
from repertory.actors.statistics import Statistics
from repertory.errors import NoModel
from repertory.models.model import Model, Outcomes, Signature
from repertory.models.records import RecordDecoder
from repertory.protos.door_pb2 import ScoredBatch


@dataclass(slots=True)
class OnStage:
    """A model that serves: which version it is, and how it does."""

    update: StageModel
    model: Model
    since_ms: int  # epoch
    statistics: Statistics = field(default_factory=Statistics)


class Stage:
    """The model of one shard. Used by one thread. `delay` slows it down on purpose."""

    def __init__(self, shard: Shard, decoder: RecordDecoder, *, delay: Delay | None = None) -> None:
        self._shard = shard
        self._decoder = decoder
        self._delay = delay
        self.current: OnStage | None = None
        self.cleared: ClearStage | None = None  # why nothing is on stage
        self.swaps = 0
        self._recent = Recent()

    @property
    def position(self) -> int:
        """The journal position that put the model on stage, or cleared it; 0 when none did."""
        if self.cleared is not None:
            return self.cleared.position
        return self.current.update.position if self.current else 0

    @property
    def since_ms(self) -> int:
        """When that was (epoch); 0 when it never was."""
        if self.cleared is not None:
            return self.cleared.since_ms
        return self.current.since_ms if self.current else 0

    def swap(self, update: StageModel, model: Model, since_ms: int | None = None) -> Model | None:
        """Put a loaded model on stage, and return the one that leaves, for its owner to close."""
        leaving = self.current.model if self.current else None
        since = int(time.time() * 1000) if since_ms is None else since_ms
        self.current, self.cleared = OnStage(update, model, since), None
        self.swaps += 1
        return leaving

    def clear(self, update: ClearStage) -> Model | None:
        """Take the model from the stage and return it, for its owner to close; None if none was."""
        leaving = self.current.model if self.current else None
        self.current, self.cleared = None, update
        return leaving

    def score(
        self, batches: Sequence[Sequence[bytes]], *, json: bool, counts: bool = True
    ) -> list[ScoredBatch]:
        """Decode and score batches, together: a reply to each, with an outcome for each record.

        What does not count is not in the statistics.

        Raises NoModel when nothing is on stage, and ModelBroken when the engine is gone.
        """
        if self.current is None:
            raise self._no_model()
        start = time.perf_counter_ns()
        records = [record for batch in batches for record in batch]
        columns, undecodable = self._decoder.decode(records, json=json)
        decoded = time.perf_counter_ns()
        outcomes = self.current.model.score(columns)
        if self._delay is not None:
            self._delay.sleep()
        if undecodable:  # what these scored, as rows of NaN, means nothing
            outcomes = replace(outcomes, failures={**outcomes.failures, **undecodable})
        end = time.perf_counter_ns()
        if counts:
            milliseconds = (end - start) / 1e6
            self.current.statistics.count(len(records), len(outcomes.failures), milliseconds)
            self._recent.note(self.current.update, outcomes, milliseconds)
        replies = _cut(self.current.update, outcomes, map(len, batches))
        for reply in replies:
            reply.decode_us, reply.score_us = (decoded - start) // 1000, (end - decoded) // 1000
        return replies

    def model_json(self) -> dict[str, Any] | None:
        """Return what `/models` says of the model on stage."""
        if self.current is None:
            return None
        update = self.current.update
        return {
            "dataType": self._shard.data_type,
            "name": update.name,
            "description": update.description,
            "modelType": update.model_type,
            "version": update.version,
            "sha256": update.sha256,
            "since": self.current.since_ms,
            **_answers(self.current.model.signature),
            **({"slot": self._shard.slot} if self._shard.slot else {}),
        }

    def state_json(self) -> dict[str, Any]:
        """Return what `/state` says. Raises NoModel when nothing is on stage."""
        model = self.model_json()
        if model is None or self.current is None:
            raise self._no_model()
        return {**model, **self.current.statistics.as_json()}

    def merging_json(self) -> dict[str, Any]:
        """Return what is told to routers beside it: what merging needs, and what was answered last."""
        sketches = {"times": self.current.statistics.sketch()} if self.current else None
        return {
            "sketches": sketches,
            "position": self.position,
            "recent": self._recent.as_json(),
        }

    def retired_json(self) -> dict[str, Any] | None:
        """Return since when nothing is to serve, and by which position; None when that is not so."""
        if self.cleared is None:
            return None
        return {"at": self.cleared.since_ms, "position": self.cleared.position}

    def _no_model(self) -> NoModel:
        if self.cleared is None:
            return NoModel(f"no model serves {str(self._shard)!r} yet; publish one")
        moment = datetime.fromtimestamp(self.cleared.since_ms / 1000, UTC)
        return NoModel(
            f"the model of {str(self._shard)!r} was retired at {moment:%Y-%m-%dT%H:%M:%SZ}"
            f" (journal position {self.cleared.position}); publish one, or roll back"
        )


def _answers(signature: Signature) -> dict[str, Any]:
    """Return what a model answers: of which task, and how many probabilities beside a label."""
    about: dict[str, Any] = {"task": signature.task.value}
    if signature.probabilities_output is not None:
        about["probabilities"] = len(signature.classes)
    return about


def _cut(update: StageModel, outcomes: Outcomes, lengths: Iterable[int]) -> list[ScoredBatch]:
    """Return outcomes as replies to batches of these lengths."""
    values = _little(outcomes.values, "<f8")
    chosen = _little(outcomes.chosen, "<i4")
    probabilities = _little(outcomes.probabilities, "<f8")
    extras = [(name, _said(extra, outcomes.failures)) for name, extra in outcomes.extras.items()]
    replies, start = [], 0
    for length in lengths:
        rows = slice(start, start + length)
        reply = ScoredBatch(
            model_name=update.name,
            model_version=update.version,
            model_sha256=update.sha256,
            values=values[rows].tobytes(),
            labels=outcomes.labels,
            chosen=chosen[rows].tobytes(),
            probabilities=probabilities[rows].tobytes(),
        )
        for name, extra in extras:
            reply.extras.add(name=name, values=extra[rows].tobytes())
        for index, failed in outcomes.failures.items():
            if rows.start <= index < rows.stop:
                place = index - start
                reply.failures.add(index=place, code=failed.code, message=failed.message)
        replies.append(reply)
        start = rows.stop
    return replies


def _said(extra: NDArray[np.float64], failures: Collection[int]) -> NDArray[np.float64]:
    """Return what is said beside the answers, NaN where a record could not be decoded."""
    said = extra.astype("<f8")
    said[list(failures)] = np.nan
    return said


_NONE = np.empty(0)


def _little(column: NDArray[Any] | None, dtype: str) -> NDArray[Any]:
    return _NONE if column is None else column.astype(dtype, copy=False)
