"""One contender on one workload, once: its rate and what that costs, then its latency."""

import math
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmarks.stream_broker import Broker, fill
from benchmarks.stream_contender import Contender, ContenderFailed
from benchmarks.stream_load import Latency, open_loop
from benchmarks.stream_rate import (
    Counter,
    InputUsedUp,
    Measured,
    Say,
    measure_rate,
    wait_for,
)
from benchmarks.stream_stage import Stock, job_for
from benchmarks.stream_workloads import Workload

LOAD = 0.5
"""Part of a contender's own rate at which its latency is measured, if nothing else is said."""
PROBES = 200  # records whose results tell that a contender is up


@dataclass(frozen=True, slots=True)
class Length:
    """How long is measured, in seconds."""

    seconds: float
    warmup: float
    latency_seconds: float
    """0: latency is not measured."""
    latency_rate: float | None = None
    """Records/s; None: a part (LOAD) of the rate that the contender reached."""

    def rehearsal(self) -> "Length":
        """Return the length of a trial that does not count."""
        latency_seconds = self.warmup if self.latency_seconds else 0
        return replace(
            self, seconds=self.warmup, warmup=self.warmup / 2, latency_seconds=latency_seconds
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What one trial gave. Without a failure, all numbers are there but those of the latency."""

    round: int
    workload: str
    contender: str
    failure: str | None = None
    rate: float = math.nan
    seconds: float = math.nan
    cpu_per_100k: float = math.nan
    broker_cpu_per_100k: float = math.nan
    peak_mb: float = math.nan
    p50_ms: float | None = None
    p99_ms: float | None = None
    missing: int = 0
    """Records whose result did not come in time, when latency was measured."""
    late_ms: float = 0.0
    """How late those records were written, p99; it is part of the latency."""

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes; an endless latency, which JSON does not know, is text."""
        return {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Take back `as_json`."""
        texts = {"inf": math.inf, "nan": math.nan}
        return cls(**{key: texts.get(str(value), value) for key, value in document.items()})


class Trials:
    """Runs trials on one broker."""

    def __init__(self, broker: Broker, folder: Path, length: Length, say: Say) -> None:
        self._broker = broker
        self._folder = folder
        self._length = length
        self._say = say
        self._stocks: dict[str, Stock] = {}

    def rehearse(self, workload: Workload, contender: Contender) -> None:
        """Run a short trial that does not count: a broker that was just started is slow for a while.

        Without it, the first contender would wait for the broker's compiler.
        """
        whole = self._length
        self._length = whole.rehearsal()
        try:
            self.run(0, workload, contender)
        except ContenderFailed as error:
            self._say(str(error))  # it will say so again when it counts
        finally:
            self._length = whole

    def run(self, number: int, workload: Workload, contender: Contender) -> Result:
        """Run a trial. Raises ContenderFailed."""
        measured = self._rate(workload, contender)
        span = measured.span
        per_100k = 100_000 / span.records
        latency = None
        if self._length.latency_seconds:
            load = self._length.latency_rate or span.rate * LOAD
            latency = self._latency(workload, contender, load)
        return Result(
            round=number,
            workload=workload.name,
            contender=contender.name,
            rate=span.rate,
            seconds=span.seconds,
            cpu_per_100k=span.cpu * per_100k,
            broker_cpu_per_100k=span.broker_cpu * per_100k,
            peak_mb=measured.peak_memory / 1e6,
            p50_ms=latency.p50 if latency else None,
            p99_ms=latency.p99 if latency else None,
            missing=latency.missing if latency else 0,
            late_ms=latency.late if latency else 0.0,
        )

    def _rate(self, workload: Workload, contender: Contender) -> Measured:
        if (stock := self._stocks.get(workload.name)) is None:
            stock = self._stocks[workload.name] = Stock(self._broker, workload)
        self._have(stock, int(workload.guess * (self._length.seconds + self._length.warmup)))
        while True:
            try:
                return self._try_rate(workload, contender, stock)
            except InputUsedUp:
                self._have(stock, 2 * stock.count)

    def _have(self, stock: Stock, count: int) -> None:
        stock.have(count, lambda done: self._say(f"laying in {count:,} records: {done:,}"))

    def _try_rate(self, workload: Workload, contender: Contender, stock: Stock) -> Measured:
        with job_for(
            contender,
            workload,
            broker=self._broker,
            records=stock.topic,
            folder=self._folder,
        ) as job:
            counter = Counter(self._broker, contender, job)
            try:
                with contender.start(job) as running:
                    return measure_rate(
                        running,
                        counter,
                        job=job,
                        broker=self._broker,
                        available=stock.count,
                        warmup=self._length.warmup,
                        seconds=self._length.seconds,
                        say=self._say,
                    )
            finally:
                counter.close()

    def _latency(self, workload: Workload, contender: Contender, rate: float) -> Latency:
        topic = f"{workload.name}-{uuid.uuid4().hex[:8]}"
        self._broker.create(topic)
        values = workload.records()
        try:
            with (
                job_for(
                    contender, workload, broker=self._broker, records=topic, folder=self._folder
                ) as job,
                contender.start(job) as running,
                open_loop(
                    self._broker.bootstrap,
                    records=topic,
                    results=job.results,
                    committed=contender.exactly_once,
                    values=values,
                ) as loop,
            ):
                self._say("starting")
                fill(self._broker.bootstrap, topic, values, PROBES, lambda _: None)
                counter = Counter(self._broker, contender, job)
                wait_for(counter, PROBES, running)
                counter.close()
                seconds = self._length.latency_seconds
                loop.start(rate=rate, warmup=self._length.warmup, seconds=seconds)
                self._say(f"latency at {rate:,.0f} records/s")
                while (latency := loop.latency()) is None:
                    running.check()
                return latency
        finally:
            self._broker.delete(topic)
