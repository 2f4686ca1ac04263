"""What the results topic gets: a ScoredRecord for each record, as protobuf or JSON. Pure.

Records are encoded by the batch: what they have in common once, and the columns of their scores at
a stretch. Protobuf allows this: messages put one after the other are read as one, merged.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns
from repertory.config import ValueFormat
from repertory.protos.results_pb2 import ModelRef as ModelRefMessage
from repertory.protos.results_pb2 import ScoredRecord, Source
from repertory.streams.claims import Claim
from repertory.streams.record import Headers, Record


@dataclass(frozen=True, slots=True)
class Scored:
    """Records of one data type that were scored together, in order.

    `columns` are their scores, None when no model saw them; those in `failures` have none.
    """

    data_type: str  # empty when it is not known
    records: list[Record]
    columns: ScoredColumns | None
    failures: Mapping[int, RecordFailed]
    scored_ms: int

    @property
    def model(self) -> ModelRef | None:
        """The model version that scored the records."""
        return None if self.columns is None else self.columns.model


Encoder = Callable[[Scored, int], list[bytes]]


def encoder(form: ValueFormat) -> Encoder:
    """Return what encodes the records of a `Scored`, each to at most so many bytes.

    One that would be larger leaves its input record out. What stands for a failed record means
    nothing.
    """
    return _as_json if form == "json" else _as_protobuf


def result_headers(data_type: str, model: ModelRef) -> Headers:
    """Return the headers of a result: what a reader may want to know without decoding it."""
    return [
        ("data-type", data_type.encode()),
        ("model", model.name.encode()),
        ("model-version", b"%d" % model.version),
        ("model-sha256", model.sha256.encode()),
    ]


# --- protobuf


def _as_protobuf(scored: Scored, limit: int) -> list[bytes]:
    assert scored.columns is not None
    common = ScoredRecord(
        data_type=scored.data_type, model=_model(scored.columns.model), scored_ms=scored.scored_ms
    ).SerializeToString()
    heads: dict[Claim, bytes] = {}
    # One message serves all: to make one costs more than to fill it.
    rest = ScoredRecord()
    source = rest.source
    values = []
    for record, score in zip(scored.records, _scores(scored.columns), strict=True):
        claim = record.claim
        if (head := heads.get(claim)) is None:
            place = Source(topic=claim.topic, partition=claim.partition)
            head = heads[claim] = common + ScoredRecord(source=place).SerializeToString()
        source.offset = record.offset
        source.timestamp_ms = record.timestamp_ms
        rest.received_ms = record.received_ms
        rest.record = record.value or b""
        value = head + score + rest.SerializeToString()
        if len(value) > limit:
            rest.record = b""
            value = head + score + rest.SerializeToString()
        values.append(value)
    return values


def _model(model: ModelRef) -> ModelRefMessage:
    return ModelRefMessage(name=model.name, version=model.version, sha256=model.sha256)


def _scores(columns: ScoredColumns) -> list[bytes]:
    """Return the fields `value`, or `label` and `probabilities`, of each record."""
    if columns.values is not None:
        return _rows(columns.count, [(_tag(ScoredRecord(value=1.0), 8), columns.values)])
    assert columns.chosen is not None
    labels = [ScoredRecord(label=label).SerializeToString() for label in columns.labels] or [b""]
    chosen = [labels[index] for index in columns.chosen.tolist()]
    if columns.probabilities is None:
        return chosen
    fields = []
    for place, label in enumerate(columns.labels):
        one = ScoredRecord()
        one.probabilities.add(label=label, probability=1.0)
        fields.append((_tag(one, 8), columns.probabilities[:, place]))
    return [*map(bytes.__add__, chosen, _rows(columns.count, fields))]


def _tag(message: ScoredRecord, size: int) -> bytes:
    """Return what precedes the number that a message ends with."""
    return message.SerializeToString()[:-size]


def _rows(count: int, fields: list[tuple[bytes, NDArray[np.float64]]]) -> list[bytes]:
    """Return for each record its numbers, each after its tag."""
    layout: list[Any] = []
    for place, (tag, _) in enumerate(fields):
        layout += [(f"tag {place}", f"V{len(tag)}"), (f"number {place}", "<f8")]
    table = np.empty(count, layout)
    for place, (tag, numbers) in enumerate(fields):
        table[f"tag {place}"] = np.void(tag)
        table[f"number {place}"] = numbers
    data, width = table.tobytes(), table.itemsize
    return [data[start : start + width] for start in range(0, count * width, width)]


# --- JSON


def _as_json(scored: Scored, limit: int) -> list[bytes]:
    """Return what protobuf's JSON mapping makes of ScoredRecords, but numbers stay numbers.

    A record that is JSON itself is in it as it is; another one in base64, as in the mapping.
    """
    assert scored.columns is not None
    model = scored.columns.model
    head = {
        "dataType": scored.data_type,
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
    }
    values = []
    for record, score in zip(scored.records, _json_scores(scored.columns), strict=True):
        source = {"topic": record.claim.topic, "partition": record.claim.partition}
        source |= {"offset": record.offset, "timestampMs": record.timestamp_ms}
        times = {"receivedMs": record.received_ms, "scoredMs": scored.scored_ms}
        message = {**head, **score, "source": source, **times}
        value = orjson.dumps({**message, "record": _json_record(record.value or b"")})
        values.append(value if len(value) <= limit else orjson.dumps(message))
    return values


def _json_record(value: bytes) -> Any:
    if value.lstrip()[:1] != b"{":
        return b64encode(value).decode()
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return b64encode(value).decode()


def _json_scores(columns: ScoredColumns) -> list[dict[str, Any]]:
    if columns.values is not None:
        return [{"value": value} for value in columns.values.tolist()]
    assert columns.chosen is not None
    labels = columns.labels or ("",)
    scores: list[dict[str, Any]] = [{"label": labels[index]} for index in columns.chosen.tolist()]
    if columns.probabilities is not None:
        for score, row in zip(scores, columns.probabilities.tolist(), strict=True):
            score["probabilities"] = [
                {"label": label, "probability": probability}
                for label, probability in zip(columns.labels, row, strict=True)
            ]
    return scores
