"""Having records scored, whatever it takes: attempts are repeated until each one has an outcome."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from repertory.actors.batch import JSON, PROTOBUF, RecordBatch, RecordFailed
from repertory.actors.client import RouterClient
from repertory.config import ValueFormat
from repertory.errors import (
    DeadlineExceeded,
    FailureCode,
    InternalError,
    InvalidRequest,
    ProtocolError,
    RequestFailed,
    Unavailable,
)
from repertory.journal.clock import epoch_ms
from repertory.streams.quarantine import Quarantine
from repertory.streams.record import Record
from repertory.streams.results import Scored
from repertory.streams.telemetry import StreamTelemetry

FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0
ROUTER_SECONDS = 1.0  # a router that died is back in less

log = structlog.get_logger(__name__)

Hold = Callable[[], AbstractAsyncContextManager[None]]


class Scorer:
    """Has the batches of one data type scored.

    What cannot be answered now (no model, no router, no free actor) is asked again for ever: the
    records wait, in the end in Kafka. `waiting_for` says why, while that is so.
    """

    def __init__(
        self,
        client: RouterClient,
        data_type: str,
        *,
        value_format: ValueFormat,
        deadline: float,
        telemetry: StreamTelemetry,
        explain: bool = False,
    ) -> None:
        self._client = client
        self._data_type = data_type
        self._encoding = JSON if value_format == "json" else PROTOBUF
        self._deadline = deadline
        self._telemetry = telemetry
        self._explain = explain
        self._quarantine = Quarantine()
        self.waiting_for: FailureCode | None = None

    async def score(self, records: list[Record]) -> list[Scored]:
        """Return the outcomes of `records`, in order; in several pieces if that was necessary.

        A batch that fails whole by a defect (it killed its serving actor again and again) is
        scored record by record, with nothing else of this data type under way, so that only the
        culprit fails. One by one and not by halves, since a death of the actor costs seconds and
        a record by itself a fraction of a millisecond.
        """
        try:
            return await self._persist(records, self._quarantine.shared)
        except (InternalError, InvalidRequest) as error:
            log.error(
                "a batch failed whole; its records are scored one by one",
                data_type=self._data_type,
                records=len(records),
                why=str(error),
            )
        async with self._quarantine.alone():
            return [piece for record in records for piece in await self._alone(record)]

    async def _alone(self, record: Record) -> list[Scored]:
        try:
            return await self._persist([record], contextlib.nullcontext)
        except (InternalError, InvalidRequest) as error:
            return [refused(self._data_type, [record], error.code, str(error))]

    async def _persist(self, records: list[Record], hold: Hold) -> list[Scored]:
        """Try until there is an answer. Raises InternalError and InvalidRequest.

        A batch that takes too long is halved: a model that is slow still gets on.
        """
        backoff = FIRST_BACKOFF
        while True:
            try:
                async with hold():
                    answer = await self._attempt(records)
                self._note(None)
                return [answer]
            except (InternalError, InvalidRequest):
                raise
            except RequestFailed as error:
                self._note(error)
                late = isinstance(error, DeadlineExceeded)
            if late and len(records) > 1:
                middle = len(records) // 2
                first = await self._persist(records[:middle], hold)
                return first + await self._persist(records[middle:], hold)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF)

    async def _attempt(self, records: list[Record]) -> Scored:
        if not self._client.connected.is_set():
            try:
                async with asyncio.timeout(ROUTER_SECONDS):
                    await self._client.connected.wait()
            except TimeoutError:
                raise Unavailable("the router is not there") from None
        values = [record.value or b"" for record in records]
        batch = RecordBatch(self._data_type, values, self._encoding)
        try:
            columns = await self._client.score_columns(
                batch, timeout=self._deadline, explain=self._explain
            )
        except ProtocolError as error:
            raise InternalError(f"the answer makes no sense: {error}") from error
        if any(each.code is FailureCode.DEADLINE_EXCEEDED for each in columns.failures.values()):
            # A policy's slots answered for the other records of the batch in time.
            raise DeadlineExceeded("no model on stage answered for some records in time")
        if columns.position:
            self._client.raise_floor({self._data_type: columns.position})
        now = epoch_ms()
        decode, score = columns.decode_seconds, columns.score_seconds
        waited = max(0.0, (now - records[0].received_ms) / 1000 - decode - score)
        self._telemetry.batch(
            self._data_type, len(records), queue=waited, decode=decode, score=score
        )
        return Scored(self._data_type, records, columns, columns.failures, now)

    def _note(self, error: RequestFailed | None) -> None:
        code = None if error is None else error.code
        if code == self.waiting_for:
            return
        self.waiting_for = code
        if error is None:
            log.info("records are scored again", data_type=self._data_type)
        else:
            log.warning("records wait", data_type=self._data_type, code=code, why=str(error))


def refused(data_type: str, records: Sequence[Record], code: FailureCode, reason: str) -> Scored:
    """Return records as ones that no model is to see."""
    failed = RecordFailed(code, reason)
    return Scored(
        data_type, list(records), None, dict.fromkeys(range(len(records)), failed), epoch_ms()
    )
