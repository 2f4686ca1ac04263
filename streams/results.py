"""What the results topic gets: a ScoredRecord for each record, as protobuf or JSON. Pure.

Records are encoded by the batch: what they have in common once, and the columns of their scores at
a stretch. Protobuf allows this: messages put one after the other are read as one, merged.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns
from repertory.config import ValueFormat
from repertory.protos.results_pb2 import ScoredRecord, Source
from repertory.streams.choices import Choices, choices_of, fragment, model_json, model_message
from repertory.streams.claims import Claim
from repertory.streams.record import Headers, Record


@dataclass(frozen=True)
class Scored:
    """Records of one data type that were scored together, in order.

    `columns` are their scores, None when no model saw them; those in `failures` have none.
    """

    data_type: str  # empty when it is not known
    records: list[Record]
    columns: ScoredColumns | None
    failures: Mapping[int, RecordFailed]
    scored_ms: int

    @cached_property
    def choices(self) -> Choices | None:
        """How the answers were chosen; None when no policy did."""
        return None if self.columns is None else choices_of(self.columns)

    def model_of(self, index: int) -> ModelRef | None:
        """Return the model version that a record's score, or its failure, is of; None: of none."""
        if self.choices is not None:
            return self.choices.of(index).decision.model
        return None if self.columns is None else self.columns.model

    def scores_by_model(self) -> dict[ModelRef, int]:
        """Return how many records have their score of each model version."""
        if self.columns is None:
            return {}
        if self.choices is None:
            return {self.columns.model: len(self.records) - len(self.failures)}
        return self.choices.count(without=self.failures)


Encoder = Callable[[Scored, int], list[bytes]]


def encoder(form: ValueFormat) -> Encoder:
    """Return what encodes the records of a `Scored`, each to at most so many bytes.

    One that would be larger leaves its input record out, and if it still is, what each slot said.
    What stands for a failed record means nothing.
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


def headers_of_each(scored: Scored) -> Iterable[Headers]:
    """Return the headers of each record's result, without end if all have the same."""
    if scored.columns is None:
        return repeat([])
    if scored.choices is None:
        return repeat(result_headers(scored.data_type, scored.columns.model))
    return scored.choices.spread(
        [
            [*result_headers(scored.data_type, each.model), *each.headers]
            for each in scored.choices.kinds
        ]
    )


# --- protobuf


def _as_protobuf(scored: Scored, limit: int) -> list[bytes]:
    columns = scored.columns
    assert columns is not None
    model = model_message(columns.model) if scored.choices is None else None
    common = ScoredRecord(
        data_type=scored.data_type, model=model, scored_ms=scored.scored_ms
    ).SerializeToString()
    heads: dict[Claim, bytes] = {}
    # One message serves all: to make one costs more than to fill it.
    rest = ScoredRecord()
    source = rest.source
    values = []
    short, long = _answered(columns, scored.choices)
    for record, least, score in zip(scored.records, short, long, strict=True):
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
            if len(value) > limit:
                value = head + least + rest.SerializeToString()
        values.append(value)
    return values


def _answered(columns: ScoredColumns, choices: Choices | None) -> tuple[list[bytes], list[bytes]]:
    """Return each record's score and, with a policy, its decision; and with what each slot said."""
    scores = _scores(columns)
    if choices is None:
        return scores, scores
    decisions = choices.spread([each.as_protobuf() for each in choices.kinds])
    short = [*map(bytes.__add__, decisions, scores)]
    if not choices.explained:
        return short, short
    return short, [*map(bytes.__add__, short, choices.answers_protobuf())]


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
    columns = scored.columns
    assert columns is not None
    short, long = _json_heads(scored)
    values = []
    for record, least, head, score in zip(
        scored.records, short, long, _json_scores(columns), strict=True
    ):
        source = {"topic": record.claim.topic, "partition": record.claim.partition}
        source |= {"offset": record.offset, "timestampMs": record.timestamp_ms}
        times = {"receivedMs": record.received_ms, "scoredMs": scored.scored_ms}
        message = {**head, **score, "source": source, **times}
        value = orjson.dumps({**message, "record": _json_record(record.value or b"")})
        if len(value) > limit:
            value = orjson.dumps(message)
            if len(value) > limit:
                value = orjson.dumps({**message, **least})
        values.append(value)
    return values


_Heads = list[dict[str, Any]]


def _json_heads(scored: Scored) -> tuple[_Heads, _Heads]:
    """Return what each result begins with; and the same with what each slot said."""
    head, choices = {"dataType": scored.data_type}, scored.choices
    if choices is None:
        assert scored.columns is not None
        heads = [{**head, "model": model_json(scored.columns.model)}] * len(scored.records)
        return heads, heads
    kinds = [{**head, "model": fragment(model_json(each.model))} for each in choices.kinds]
    bare = [each.as_json() for each in choices.kinds]
    short = choices.spread(
        [kind | {"decision": fragment(each)} for kind, each in zip(kinds, bare, strict=True)]
    )
    if not choices.explained:
        return short, short
    return short, [
        {**kinds[number], "decision": {**bare[number], "answers": said}}
        for number, said in zip(choices.numbers, choices.answers_json(), strict=True)
    ]


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
