"""How fast a contender gets through records that wait for it, and what that costs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stream_broker import Broker, Watch
from benchmarks.stream_contender import Contender, Running
from benchmarks.stream_job import Job
from benchmarks.stream_processes import Processes, below, with_job
from benchmarks.stream_samples import Sample, Span, whole_steps

_PERIOD = 0.25  # seconds between two looks
_START_SECONDS = 120.0
# Offsets that are committed every 5 s: two of them are seen at least.
_MOST_SECONDS_MORE = 20.0
_MEMORY_EVERY = 4  # looks: it takes milliseconds for each process

Say = Callable[[str], None]


class InputUsedUp(Exception):
    """A contender was faster than expected, and was through before the end."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured."""

    span: Span
    peak_memory: int
    """Bytes, of all processes together."""


class Counter:
    """How many records a contender is through with.

    At least once, these are its results: the ends of the results topic. Exactly once, where markers
    of transactions lie between the results, they are the offsets that it has committed, which it
    does in the same transactions.
    """

    def __init__(self, broker: Broker, contender: Contender, job: Job) -> None:
        self._committed = contender.exactly_once
        topic = job.records if contender.exactly_once else job.results
        self._watch: Watch = broker.watch(topic, job.group)

    def read(self) -> int:
        """Return how many there are now."""
        return self._watch.committed() if self._committed else self._watch.end()

    def close(self) -> None:
        """End."""
        self._watch.close()


def wait_for(counter: Counter, count: int, running: Running) -> None:
    """Wait for so many records. Raises ContenderFailed."""
    deadline = time.monotonic() + _START_SECONDS
    while (done := counter.read()) < count:
        running.check()
        if time.monotonic() > deadline:
            raise running.failed(f"{done} of {count} results after {_START_SECONDS:g} s")
        time.sleep(_PERIOD)


def measure_rate(
    running: Running,
    counter: Counter,
    *,
    job: Job,
    broker: Broker,
    available: int,
    warmup: float,
    seconds: float,
    say: Say,
) -> Measured:
    """Measure for `seconds`, from `warmup` seconds after the first result.

    Raises ContenderFailed when it ends or stands still, and InputUsedUp.
    """
    processes = Processes(with_job(Path(job.folder) / "job.json"))
    broker_processes = Processes(lambda: below(broker.pid) if broker.pid else set())
    say("starting")
    wait_for(counter, 1, running)
    begin = time.monotonic() + warmup
    end = begin + seconds
    samples: list[Sample] = []
    peak, looks = 0, 0
    while True:
        now = time.monotonic()
        records = counter.read()
        if now >= begin:
            cpu, broker_cpu = processes.cpu_seconds(), broker_processes.cpu_seconds()
            samples.append(Sample(now, records, cpu, broker_cpu))
        if looks % _MEMORY_EVERY == 0:
            peak = max(peak, processes.memory_bytes())
            say(f"{'warming up' if now < begin else 'measuring'}, {records:,} records")
        looks += 1
        if records >= available:
            raise InputUsedUp
        if now >= end and (whole_steps(samples) or now >= end + _MOST_SECONDS_MORE):
            break
        running.check()
        time.sleep(max(0.0, now + _PERIOD - time.monotonic()))
    if (span := whole_steps(samples)) is None:
        raise running.failed(f"no progress within {now - begin:.0f} s")
    return Measured(span, peak)
