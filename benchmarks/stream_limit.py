"""The in-process limit: all that Repertory does for a record, in one plain loop without actors.

The decoder, the model with its ONNX session and the encoder of results are Repertory's own; the
rest is a loop round confluent-kafka as a careful engineer would write it. `python -m
benchmarks.stream_limit` does the job that BENCHMARK_JOB names, until SIGTERM.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stream_job import Job, read_job
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from repertory.actors.batch import ModelRef, RecordFailed, ScoredColumns
from repertory.config import DataType
from repertory.models.loader import load_model, warm
from repertory.models.prepared import load_prepared
from repertory.models.records import RecordDecoder
from repertory.models.schema import schema_of
from repertory.protos.loading import load_message
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import Scored, encoder, result_headers

BATCH = 1000
COMMIT_SECONDS = 0.5
TRANSACTION_SECONDS = 0.1  # at most; one ends earlier when no more records wait
LARGEST_RESULT = 1_000_000


class Loop:
    """Consume, decode, score, encode, produce, commit."""

    def __init__(self, job: Job) -> None:
        self._job = job
        data_type = DataType(message=job.message, features=job.features)
        schema = schema_of(job.data_type, data_type)
        self._decoder = RecordDecoder(schema, load_message(job.message))
        self._model = load_model(load_prepared(Path(job.prepared)))
        warm(self._model)
        self._ref = ModelRef("benchmark", 1, job.model_sha256)
        self._encode = encoder("protobuf")
        self._headers = result_headers(job.data_type, self._ref)
        self._claims: dict[int | None, Claim] = {}
        self._ends: dict[int, int] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": job.bootstrap,
                "group.id": job.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        properties = {"transactional.id": job.group} if job.exactly_once else {}
        self._producer = Producer(
            {
                "bootstrap.servers": job.bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 2,
                **properties,
            }
        )
        self.stopped = False

    def at_least_once(self) -> None:
        """Commit, twice a second, what is acknowledged."""
        committed = time.monotonic()
        while not self.stopped:
            self._process(self._read())
            if time.monotonic() - committed > COMMIT_SECONDS and self._ends:
                self._producer.flush()
                self._consumer.commit(offsets=self._offsets(), asynchronous=True)
                committed = time.monotonic()

    def exactly_once(self) -> None:
        """Put batches into transactions."""
        self._producer.init_transactions()
        while not self.stopped:
            batch = self._read()
            if not batch:
                continue
            self._producer.begin_transaction()
            end = time.monotonic() + TRANSACTION_SECONDS
            self._process(batch)
            while len(batch) == BATCH and time.monotonic() < end:
                self._process(batch := self._read())
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(self._offsets(), group)
            self._producer.commit_transaction()

    def run(self) -> None:
        """Work until `stopped`."""
        self._consumer.subscribe([self._job.records])
        if self._job.exactly_once:
            self.exactly_once()
        else:
            self.at_least_once()
            self._producer.flush()
        self._consumer.close()

    def _read(self) -> list[Message]:
        # consume() with a timeout would wait for all the messages it may return.
        first = self._consumer.poll(0.1)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(BATCH - 1, 0)]
        return [message for message in messages if message.error() is None]

    def _process(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        now = int(time.time() * 1000)
        records = [self._record(message, now) for message in messages]
        json = self._job.value_format == "json"
        columns, bad = self._decoder.decode([record.value or b"" for record in records], json=json)
        outcomes = self._model.score(columns)
        failures = {
            index: RecordFailed(failed.code, failed.message)
            for index, failed in {**outcomes.failures, **bad}.items()
        }
        scored = ScoredColumns(
            model=self._ref,
            count=len(records),
            values=outcomes.values,
            labels=outcomes.labels,
            chosen=outcomes.chosen,
            probabilities=outcomes.probabilities,
            failures=failures,
        )
        piece = Scored(self._job.data_type, records, scored, failures, int(time.time() * 1000))
        for index, value in enumerate(self._encode(piece, LARGEST_RESULT)):
            if index in failures:
                self._produce(self._job.dead_letters, records[index], records[index].value, [])
            else:
                self._produce(self._job.results, records[index], value, self._headers)
        self._producer.poll(0)

    def _record(self, message: Message, now: int) -> Record:
        place: Any = message.partition()
        offset: Any = message.offset()
        if (claim := self._claims.get(place)) is None:
            claim = self._claims[place] = Claim(self._job.records, place)
        self._ends[place] = offset + 1
        return Record(claim, offset, message.key(), message.value(), message.timestamp()[1], now)

    def _produce(self, topic: str, record: Record, value: bytes | None, headers: Any) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    record.key,
                    record.claim.partition,
                    timestamp=record.timestamp_ms,
                    headers=headers,
                )
                return
            except BufferError:
                self._producer.poll(0.01)

    def _offsets(self) -> list[TopicPartition]:
        places = [TopicPartition(self._job.records, *each) for each in self._ends.items()]
        self._ends.clear()
        return places


def main() -> None:
    """Do the job."""
    loop = Loop(read_job())

    def stop(*_: object) -> None:
        loop.stopped = True

    signal.signal(signal.SIGTERM, stop)
    loop.run()


if __name__ == "__main__":
    main()
