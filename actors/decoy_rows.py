"""Archived batches as rows: a row for each record, with its answer. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import Any

import numpy as np

from repertory.actors.batch import (
    JSON,
    ModelRef,
    PolicyReport,
    ScoredColumns,
    SlotReport,
    SlotState,
    decode_columns,
    decode_records,
)
from repertory.protos.decoy_pb2 import ArchivedBatch
from repertory.protos.door_pb2 import ScoredBatch


@dataclass(slots=True)
class Rows:
    """Columns of equal length, each named as in the archive.

    A `batch` is what was scored together, in the order of `row`; `asked` are the slots that a
    record was given to, and `slot` the one whose answer it got (None: nobody's). The answer is a
    `value`, or a `label` with the `probabilities` of `labels`, or an error; all else is None or
    empty.
    """

    batch: list[str] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    data_type: list[str] = field(default_factory=list)
    archived_us: list[int] = field(default_factory=list)
    encoding: list[str] = field(default_factory=list)  # protobuf or json
    record: list[bytes] = field(default_factory=list)
    policy: list[str] = field(default_factory=list)
    policy_version: list[int] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    slot: list[str | None] = field(default_factory=list)
    model_name: list[str | None] = field(default_factory=list)
    model_version: list[int | None] = field(default_factory=list)
    model_sha256: list[str | None] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    probabilities: list[list[float]] = field(default_factory=list)
    error_code: list[str | None] = field(default_factory=list)
    error_message: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.batch)

    def extend(self, others: "Rows") -> None:
        """Add the rows of others."""
        for name in COLUMNS:
            getattr(self, name).extend(getattr(others, name))

    def part(self, places: Sequence[int]) -> "Rows":
        """Return some of the rows, in the order of `places`."""
        return Rows(*([getattr(self, name)[place] for place in places] for name in COLUMNS))

    def by_batch(self) -> Iterator["Rows"]:
        """Yield the rows of each batch, which lie together."""
        start = 0
        for end in range(1, len(self) + 1):
            if end == len(self) or self.batch[end] != self.batch[start]:
                yield self.part(range(start, end))
                start = end


COLUMNS = tuple(each.name for each in fields(Rows))


def rows_of(batch: ArchivedBatch, name: str) -> Rows:
    """Return the rows of a batch of this name. Raises ProtocolError, or DecodeError of protobuf."""
    count = batch.count
    scored = decode_columns(ScoredBatch.FromString(batch.answer), count)
    report = scored.policy or PolicyReport("", 0, (SlotReport("", SlotState.ARRIVED),))
    chosen = [report.slot_of(row) for row in range(count)]
    models = [_model(slot, scored) for slot in chosen]
    return Rows(
        batch=[name] * count,
        row=list(range(count)),
        data_type=[batch.data_type] * count,
        archived_us=[batch.archived_us] * count,
        encoding=["json" if batch.encoding == JSON else "protobuf"] * count,
        record=decode_records(batch.payload, count),
        policy=[report.policy] * count,
        policy_version=[report.version] * count,
        asked=_asked(report, count),
        slot=[None if slot is None else slot.slot for slot in chosen],
        model_name=[None if model is None else model.name for model in models],
        model_version=[None if model is None else model.version for model in models],
        model_sha256=[None if model is None else model.sha256 for model in models],
        **_answers(scored),
    )


def _model(slot: SlotReport | None, scored: ScoredColumns) -> ModelRef | None:
    return None if slot is None else slot.model or scored.model


def _asked(report: PolicyReport, count: int) -> list[list[str]]:
    """Return the slots that each record was given to."""
    asked = np.zeros((len(report.slots), count), np.bool_)
    for place, slot in enumerate(report.slots):
        if slot.state is not SlotState.NOT_ASKED:
            asked[place, slice(None) if slot.rows is None else slot.rows] = True
    if asked.all():
        return list(repeat([slot.slot for slot in report.slots], count))
    return [
        [slot.slot for slot, there in zip(report.slots, row, strict=True) if there]
        for row in asked.T.tolist()
    ]


def _answers(scored: ScoredColumns) -> dict[str, Any]:
    count, failures = scored.count, scored.failures
    answers: dict[str, list[Any]] = {
        "value": [None] * count if scored.values is None else scored.values.tolist(),
        "label": [None] * count,
        "labels": list(repeat([], count)),
        "probabilities": list(repeat([], count)),
        "error_code": [None] * count,
        "error_message": [None] * count,
    }
    if scored.chosen is not None and scored.labels:
        labels = [*scored.labels, None]  # -1 is no label
        answers["label"] = [labels[place] for place in scored.chosen.tolist()]
        if scored.probabilities is not None:
            answers["labels"] = list(repeat(list(scored.labels), count))
            answers["probabilities"] = scored.probabilities.tolist()
    for row, failed in failures.items():
        answers["error_code"][row], answers["error_message"][row] = failed.code, failed.message
        answers["value"][row] = answers["label"][row] = None
        answers["labels"][row] = answers["probabilities"][row] = []
    return answers
