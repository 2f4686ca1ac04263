"""Of which data type a record is: its topic says so, else a header, else the record itself."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

import orjson
from google.protobuf.message import DecodeError, Message

from repertory.errors import FailureCode
from repertory.streams.record import Record
from repertory.streams.results import Scored
from repertory.streams.scorer import Scorer, refused

# The header and, in a record, the field by which it says of which data type it is.
DATA_TYPE = "dataType"


class BatchScorer(Protocol):
    """What has the batches of a lane scored."""

    async def score(self, records: list[Record]) -> list[Scored]:
        """Return the outcomes of `records`; several pieces may be in any order."""


class DedicatedTopics:
    """For topics of one data type, whose records need not say it. One that says another is refused."""

    def __init__(self, data_type: str, scorer: Scorer) -> None:
        self._data_type = data_type
        self._scorer = scorer

    async def score(self, records: list[Record]) -> list[Scored]:
        """Return the outcomes of `records`; several pieces may be in any order."""
        if not any(record.headers for record in records):
            return await self._scorer.score(records)
        own: list[Record] = []
        strangers: list[Record] = []
        for record in records:
            said = data_type_header(record)
            (own if said in (None, self._data_type) else strangers).append(record)
        pieces = await self._scorer.score(own) if own else []
        return pieces + [self._stranger(record) for record in strangers]

    def _stranger(self, record: Record) -> Scored:
        reason = f"its header {DATA_TYPE} says {data_type_header(record)!r:.80}"
        reason += f", but topic {record.claim.topic!r} is of {self._data_type!r}"
        return refused(self._data_type, [record], FailureCode.WRONG_DATA_TYPE, reason)


class MixedTopics:
    """For topics whose records say themselves of which data type they are."""

    def __init__(
        self, scorers: Mapping[str, Scorer], messages: Mapping[str, type[Message]]
    ) -> None:
        self._scorers = scorers
        self._messages = {
            data_type: message
            for data_type, message in messages.items()
            if _says_data_type(message)
        }

    async def score(self, records: list[Record]) -> list[Scored]:
        """Return the outcomes of `records`; several pieces may be in any order."""
        by_type: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_type[self.data_type(record)].append(record)
        known = [name for name in by_type if name in self._scorers]
        pieces = await asyncio.gather(*(self._scorers[name].score(by_type[name]) for name in known))
        strangers = [self._stranger(name, by_type[name]) for name in by_type.keys() - set(known)]
        return [piece for several in pieces for piece in several] + strangers

    def data_type(self, record: Record) -> str:
        """Return what a record says; empty when it says nothing."""
        said = data_type_header(record)
        return self._own_field(record.value or b"") if said is None else said

    def _own_field(self, value: bytes) -> str:
        if value.lstrip()[:1] == b"{":  # begins no protobuf message: there is no such field type
            try:
                said = orjson.loads(value).get(DATA_TYPE)
            except orjson.JSONDecodeError:
                return ""
            return said if isinstance(said, str) else ""
        for data_type, message in self._messages.items():
            try:
                if getattr(message.FromString(value), DATA_TYPE) == data_type:
                    return data_type
            except DecodeError:
                continue
        return ""

    def _stranger(self, data_type: str, records: Sequence[Record]) -> Scored:
        known = ", ".join(self._scorers)
        if data_type:
            reason = f"no data type {data_type!r:.80} is declared; there are: {known}"
        else:
            reason = f"neither a header {DATA_TYPE} nor the record says its data type: {known}"
        return refused(data_type, records, FailureCode.UNKNOWN_DATA_TYPE, reason)


def data_type_header(record: Record) -> str | None:
    """Return what the header of a record says; None without one. The last one of several counts."""
    for name, value in reversed(record.headers or ()):
        if name == DATA_TYPE and value is not None:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return None


def _says_data_type(message: type[Message]) -> bool:
    field = message.DESCRIPTOR.fields_by_name.get(DATA_TYPE)
    return field is not None and field.cpp_type == field.CPPTYPE_STRING and not field.is_repeated
