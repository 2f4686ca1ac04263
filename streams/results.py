"""What is written for a record: the messages of the results and dead-letters topics. Pure."""

from dataclasses import dataclass

from repertory.actors.batch import Label, ModelRef, Outcome, RecordFailed, Value
from repertory.protos.results_pb2 import (
    DeadLetter,
    ScoredRecord,
    Source,
)
from repertory.protos.results_pb2 import ModelRef as ModelRefMessage
from repertory.streams.record import Record

# Reasons quote what was wrong, which a record can make as long as it likes.
HEADER_REASON_BYTES = 250
REASON_CHARACTERS = 2000

Headers = list[tuple[str, str | bytes | None]]  # as confluent_kafka has it


@dataclass(frozen=True, slots=True)
class Scored:
    """Records that were scored together: an outcome for each, in order."""

    records: list[Record]
    outcomes: list[Outcome]
    model: ModelRef | None  # None when no model saw them
    scored_ms: int


def result_headers(data_type: str, model: ModelRef) -> Headers:
    """Return the headers of a result: what a reader may want to know without decoding it."""
    return [
        ("data-type", data_type.encode()),
        ("model", model.name.encode()),
        ("model-version", str(model.version).encode()),
        ("model-sha256", model.sha256.encode()),
    ]


def dead_letter_headers(data_type: str, code: str, reason: str) -> Headers:
    """Return the headers of a dead letter; the reason is cut to 250 bytes."""
    return [
        ("data-type", data_type.encode()),
        ("code", code.encode()),
        ("reason", cut(reason, HEADER_REASON_BYTES)),
    ]


def cut(text: str, size: int) -> bytes:
    """Return the UTF-8 of `text`, cut between two characters to at most `size` bytes."""
    data = text.encode(errors="replace")
    return data if len(data) <= size else data[:size].decode(errors="ignore").encode()


def common_part(data_type: str, scored: Scored) -> bytes:
    """Return the bytes that all ScoredRecords of one scoring begin with.

    Protobuf messages that are put one after the other are read as one, merged: what is common is
    encoded once.
    """
    return ScoredRecord(
        data_type=data_type, model=_model(scored.model), scored_ms=scored.scored_ms
    ).SerializeToString()


def scored_record(common: bytes, record: Record, outcome: Value | Label, *, limit: int) -> bytes:
    """Return a ScoredRecord of at most `limit` bytes: one that is larger leaves the record out."""
    message = ScoredRecord(received_ms=record.received_ms, record=record.value)
    _set_source(message.source, record)
    if isinstance(outcome, Value):
        message.value = outcome.value
    else:
        message.label = outcome.label
        add = message.probabilities.add
        for label, probability in outcome.probabilities.items():
            add(label=label, probability=probability)
    return common + fit(message, limit - len(common))


def dead_letter(
    record: Record, outcome: RecordFailed, scored: Scored, *, data_type: str, limit: int
) -> bytes:
    """Return a DeadLetter of at most `limit` bytes: one that is larger leaves the record out."""
    message = DeadLetter(
        data_type=data_type,
        code=outcome.code,
        reason=outcome.message[:REASON_CHARACTERS],
        model=_model(scored.model),
        failed_ms=scored.scored_ms,
        record=record.value,
    )
    _set_source(message.source, record)
    return fit(message, limit)


def _set_source(source: Source, record: Record) -> None:
    source.topic = record.claim.topic
    source.partition = record.claim.partition
    source.offset = record.offset
    source.timestamp_ms = record.timestamp_ms


def _model(model: ModelRef | None) -> ModelRefMessage | None:
    if model is None:
        return None
    return ModelRefMessage(name=model.name, version=model.version, sha256=model.sha256)


def fit(message: ScoredRecord | DeadLetter, limit: int) -> bytes:
    """Return the bytes of `message`, without its record if they were more than `limit`."""
    data = message.SerializeToString()
    if len(data) > limit:
        message.record = b""
        data = message.SerializeToString()
    return data
