"""Replaying a file of records to a topic, at a steady rate."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.config import DataType, Kafka
from repertory.errors import InvalidRequest, Unavailable
from repertory.journal.clock import epoch_ms
from repertory.streams.columns import RowEncoder
from repertory.streams.tables import Row, count_rows, read_rows

TICK_SECONDS = 0.01
# A replay that was held up catches up, but with no more than this much at once.
BURST_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
PROGRESS_SECONDS = 0.1
IGNORED = ("quality",)  # what the example's models are to tell


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    sent: int
    acknowledged: int
    failed: int
    total: int | None  # None when it is endless, or not known
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second, so far."""
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed, and how."""

    file: Path
    topic: str
    data_type: str
    rate: float | None = None
    """Records a second; None: as fast as the broker takes them."""
    key: str | None = None
    """The column whose text is the key; None: the number of the row, from 0."""
    loop: bool = False
    """Whether to begin again at the end, for ever."""
    ignore: Collection[str] = IGNORED
    """Columns that are not sent."""


class TokenBucket:
    """How many records are due. Pure: the time is an argument."""

    def __init__(self, rate: float | None, now: float) -> None:
        if rate is not None and rate <= 0:
            raise InvalidRequest(f"a rate of {rate:g} records a second; it must be over 0")
        self._rate = rate
        self._tokens = 0.0
        self._then = now

    def fill(self, now: float) -> None:
        """Let time pass."""
        if self._rate is not None:
            most = max(1.0, self._rate * BURST_SECONDS)
            self._tokens = min(most, self._tokens + (now - self._then) * self._rate)
        self._then = now

    def take(self) -> bool:
        """Take one record if it is due."""
        if self._rate is None:
            return True
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def replay(
    what: Replay,
    *,
    kafka: Kafka,
    data_type: DataType,
    progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Progress:
    """Send the rows of a file as records of a data type, and return the counts.

    `progress` is called about ten times a second. Ends when the file does (not with `loop`), or
    when `stop` is set. Raises InvalidRequest for a file, column or value that is not right, and
    Unavailable when no broker takes the records.
    """
    # A file that is not too large is read, and its format so checked, before anything is sent.
    counted = await asyncio.to_thread(count_rows, what.file)
    sender = _Sender(what, kafka, data_type, total=None if what.loop else counted)
    try:
        await sender.run(progress or (lambda _: None), stop or asyncio.Event())
    finally:
        sender.producer.purge()
    return sender.progress()


class _Sender:
    def __init__(
        self, what: Replay, kafka: Kafka, data_type: DataType, *, total: int | None
    ) -> None:
        self._what = what
        self._message = data_type.message
        self._total = total
        self._began = time.monotonic()
        self._sent = self._acknowledged = self._failed = 0
        self._failure = ""
        self.producer = Producer(
            {
                "linger.ms": 5,
                "compression.type": "lz4",
                "log_level": 2,
                "message.timeout.ms": int(PATIENCE_SECONDS * 1000),
                **kafka.client_properties(),
                "enable.idempotence": True,
                "on_delivery": self._delivered,
            }
        )

    async def run(self, progress: Callable[[Progress], None], stop: asyncio.Event) -> None:
        bucket = TokenBucket(self._what.rate, self._began)
        shown = self._began
        records = self._records()
        record = next(records, None)
        while record is not None and not stop.is_set() and not self._failed:
            bucket.fill(now := time.monotonic())
            full = False
            # A long burst is cut, so that progress is shown and a stop is heeded.
            while record is not None and time.monotonic() - now < TICK_SECONDS and bucket.take():
                if full := not self._send(*record):
                    break
                record = next(records, None)
            self.producer.poll(0)
            if now - shown > PROGRESS_SECONDS:
                shown = now
                progress(self.progress())
            await asyncio.sleep(TICK_SECONDS if self._what.rate or full else 0)
        await self._finish()
        progress(self.progress())

    def progress(self) -> Progress:
        seconds = time.monotonic() - self._began
        return Progress(self._sent, self._acknowledged, self._failed, self._total, seconds)

    def _records(self) -> Iterator[tuple[str, bytes]]:
        what = self._what
        encoder = RowEncoder(self._message, ignore=what.ignore)
        again = True
        while again:
            number = -1
            for number, row in enumerate(read_rows(what.file)):
                try:
                    value = encoder.encode(row, dataType=what.data_type, ts=epoch_ms())
                except InvalidRequest as error:
                    raise InvalidRequest(f"{what.file}, row {number + 1}: {error}") from error
                yield self._key(number, row), value
            if number < 0:
                raise InvalidRequest(f"{what.file}: has no rows")
            again = what.loop

    def _key(self, number: int, row: Row) -> str:
        if self._what.key is None:
            return str(number)
        if self._what.key not in row:
            raise InvalidRequest(
                f"{self._what.file}: no column {self._what.key!r}; there are: {', '.join(row)}"
            )
        return str(row[self._what.key])

    def _send(self, key: str, value: bytes) -> bool:
        """Return False when there is no room for it now."""
        try:
            self.producer.produce(self._what.topic, value, key)
        except BufferError:
            return False
        except KafkaException as error:
            raise Unavailable(f"a record cannot be sent: {error.args[0].str()}") from error
        self._sent += 1
        return True

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self._acknowledged += 1
        else:
            self._failed += 1
            self._failure = self._failure or error.str()

    async def _finish(self) -> None:
        while len(self.producer) and not self._failed:
            self.producer.poll(0)
            await asyncio.sleep(TICK_SECONDS)
        if self._failed:
            raise Unavailable(f"the brokers did not take the records: {self._failure}")
