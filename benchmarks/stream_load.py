"""An open loop: records on a schedule, whatever becomes of them, and when their results arrive.

The record that is due at some time carries it, as its timestamp and (in microseconds) its key.
Latency is from there to the result's arrival at a reader: if the one who writes is late, or the
contender makes it wait, that counts. Writer and reader are processes of their own.
"""

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import numpy as np
from benchmarks.stream_broker import PARTITIONS
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray

_TICK = 0.001  # seconds between two looks at the schedule
_LATE_SECONDS = 15.0  # after the last record, that a result may take
_READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; of `count` records, `missing` had no result in time and count as endless."""

    p50: float
    p99: float
    count: int
    missing: int
    late: float = 0.0
    """How late records were written (99th percentile): what of it is not the contender's."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Records at a steady rate from a time on (seconds since the epoch)."""

    start: float
    rate: float
    count: int

    def keys(self) -> NDArray[np.int64]:
        """Return when each is due, in microseconds: its key."""
        due = self.start + np.arange(self.count) / self.rate
        return np.asarray((due * 1e6).astype(np.int64))


def write(bootstrap: str, topic: str, records: list[bytes], pipe: Connection) -> None:
    """Write each record of a schedule when it is due. The body of a process.

    Says `ready`, is told the schedule, and at the end tells how late (99th percentile, ms) it was.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness ends this one
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 1})
    producer.list_topics(topic, timeout=_READY_SECONDS)
    pipe.send("ready")
    schedule: Schedule = pipe.recv()
    keys = schedule.keys().tolist()
    late = np.zeros(len(keys), np.int64)
    number = 0
    while number < len(keys):
        now = int(time.time() * 1e6)
        while number < len(keys) and keys[number] <= now:
            due = keys[number]
            producer.produce(
                topic,
                records[number % len(records)],
                b"%d" % due,
                number % PARTITIONS,
                timestamp=due // 1000,
            )
            late[number] = now - due
            number += 1
        producer.poll(0)
        time.sleep(_TICK)
    producer.flush(30)
    pipe.send(float(np.quantile(late, 0.99)) / 1e3)


def read(bootstrap: str, topic: str, committed: bool, pipe: Connection) -> None:
    """Read results until those of a schedule are there; send their latency. Body of a process.

    Says `ready`, is told the first and last key that count and how many there are, and answers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    consumer: Any = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "benchmark-reader",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    pipe.send("ready")
    keys: list[int] = []
    arrivals: list[float] = []
    wanted: tuple[int, int, int] | None = None
    deadline, enough = float("inf"), 0
    while time.time() < deadline:
        first = consumer.poll(0.05)
        messages = [] if first is None else [first, *consumer.consume(5000, 0)]
        now = time.time()
        keys += [int(message.key()) for message in messages if message.error() is None]
        arrivals += [now] * (len(keys) - len(arrivals))
        if wanted is None and pipe.poll():
            wanted = pipe.recv()
            deadline = wanted[1] / 1e6 + _LATE_SECONDS
        if wanted is not None and len(keys) >= enough:
            latency = latency_of(np.array(keys), np.array(arrivals), *wanted)
            if not latency.missing:
                break
            enough = len(keys) + latency.missing
    assert wanted is not None
    pipe.send(latency_of(np.array(keys), np.array(arrivals), *wanted))
    consumer.close()


def latency_of(
    keys: NDArray[np.int64], arrivals: NDArray[np.float64], first: int, last: int, expected: int
) -> Latency:
    """Return the latency of the records with keys from `first` to `last`, each once."""
    unique, places = np.unique(keys, return_index=True)  # the first arrival of each
    within = (unique >= first) & (unique <= last)
    times = arrivals[places][within] * 1e3 - unique[within] / 1e3
    missing = max(0, expected - len(times))
    times = np.append(times, np.full(missing, np.inf))
    p50, p99 = np.quantile(times, [0.5, 0.99], method="inverted_cdf") if len(times) else (0, 0)
    return Latency(float(p50), float(p99), expected, missing)


@contextmanager
def open_loop(
    bootstrap: str, *, records: str, results: str, committed: bool, values: list[bytes]
) -> Iterator["OpenLoop"]:
    """Start reader and writer of two topics; at the end nothing is left."""
    loop = OpenLoop(bootstrap, records, results, committed=committed, values=values)
    try:
        yield loop
    finally:
        loop.close()


class OpenLoop:
    """A reader that reads and a writer that waits for a schedule, each a process."""

    def __init__(
        self, bootstrap: str, records: str, results: str, *, committed: bool, values: list[bytes]
    ) -> None:
        self._processes: list[SpawnProcess] = []
        self._writer = self._spawn(write, bootstrap, records, values)
        self._reader = self._spawn(read, bootstrap, results, committed)
        for pipe in (self._writer, self._reader):
            if not pipe.poll(_READY_SECONDS):
                self.close()
                raise TimeoutError("the writer of records or the reader of results is not ready")
            pipe.recv()

    def _spawn(self, body: Callable[..., None], *arguments: object) -> Connection:
        context = multiprocessing.get_context("spawn")
        pipe, other = context.Pipe()
        process = context.Process(target=body, args=(*arguments, other), daemon=True)
        process.start()
        other.close()
        self._processes.append(process)
        return pipe

    def start(self, *, rate: float, warmup: float, seconds: float) -> None:
        """Start to write; only what is due after `warmup` seconds counts."""
        begin = time.time() + 0.1
        schedule = Schedule(begin, rate, max(1, int(rate * (warmup + seconds))))
        self._writer.send(schedule)
        keys = schedule.keys()
        keys = keys[keys >= int((begin + warmup) * 1e6)]
        self._reader.send((int(keys[0]), int(keys[-1]), len(keys)))

    def latency(self) -> Latency | None:
        """Return the latency if it is known already."""
        if self._reader.poll(0.25):
            latency: Latency = self._reader.recv()
            return replace(latency, late=self._writer.recv() if self._writer.poll(60) else math.inf)
        if not all(process.is_alive() for process in self._processes[1:]):
            raise RuntimeError("the reader of results has ended")
        return None

    def close(self) -> None:
        """End both."""
        for process in self._processes:
            process.kill()
            process.join()
