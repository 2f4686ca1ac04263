"""Whether the memory of a node stays flat when it is held up at full load.

    python -m benchmarks.stream_memory [--minutes N] [--case slow-broker|slow-model]

Records wait in Kafka all the time, more than the node gets through. In one case the broker is
slower than the node (it is stopped for most of the time), in the other the model takes 200 ms for
a full batch. Prints the resident memory of each process, minute by minute (a fair share of it, PSS,
would move whenever a stranger starts or ends a Python); exit code 1 if it drifts.
"""

import contextlib
import dataclasses
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import click
import psutil
from benchmarks.stream_broker import Broker, running_broker
from benchmarks.stream_contender import ContenderFailed
from benchmarks.stream_contenders import CONTENDERS
from benchmarks.stream_drift import ALLOWED, Drift
from benchmarks.stream_processes import Processes, rss_bytes, with_job
from benchmarks.stream_rate import Counter, wait_for
from benchmarks.stream_slow_model import BATCH, write_slow_model
from benchmarks.stream_stage import Stock, job_for
from benchmarks.stream_throttle import throttled
from benchmarks.stream_workloads import WORKLOADS, Workload
from rich.console import Console
from rich.table import Table

CASES = ("slow-broker", "slow-model")
SLOW_SECONDS = 0.2
STOPPED = 0.9
_EVERY = 5.0  # seconds between two looks at the memory
_STOCK = 1_000_000  # records that wait at least, and by how many they are added to

console = Console(width=None if sys.stdout.isatty() else 160)


def workload_of(case: str, folder: Path) -> Workload:
    """Return the wines, with the model of the case."""
    wine = WORKLOADS["wine"]()
    if case == "slow-broker":
        return wine
    model = folder / "slow.onnx"
    count = write_slow_model(model, features=len(wine.features), seconds=SLOW_SECONDS)
    console.print(
        f"slow-model: {count} products of matrices, {SLOW_SECONDS * 1000:.0f} ms for a batch of {BATCH}"
    )
    return dataclasses.replace(wine, model=model)


def label(pid: int) -> str:
    """Return what a process is: its module, or the end of its command, and its number."""
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return f"gone ({pid})"
    modules = [after for flag, after in pairwise(command) if flag == "-m"]
    if command[-1:] == ["--multiprocessing-fork"]:
        modules = ["actor"]
    return f"{(modules or ['helper'])[-1][-40:]} ({pid})"


def watch(drift: Drift, processes: Processes, stock: Stock, counter: Counter, minutes: int) -> int:
    """Take samples for so many minutes; return how many records were gone through."""
    names: dict[int, str] = {}
    first, begin = counter.read(), time.monotonic()
    while (elapsed := time.monotonic() - begin) < minutes * 60:
        if counter.read() + _STOCK > stock.count:
            stock.have(stock.count + _STOCK, lambda _: None)
        memory = {
            names.setdefault(pid, label(pid)): size
            for pid in processes.pids()
            if (size := rss_bytes(pid))
        }
        drift.add(1 + int(elapsed // 60), memory)
        time.sleep(_EVERY)
    return counter.read() - first


def show(case: str, drift: Drift) -> None:
    """Print the table of a case."""
    minutes = drift.minutes()
    count = max(max(each) for each in minutes.values())
    table = Table("process", title=f"{case}: resident MB, by minute")
    for heading in [*map(str, range(1, count + 1)), "drift"]:
        table.add_column(heading, justify="right")
    for process, sizes in minutes.items():
        cells = [f"{sizes[m] / 1e6:.1f}" if m in sizes else "-" for m in range(1, count + 1)]
        worst = drift.worst(process)
        table.add_row(process, *cells, "came or went" if worst is None else f"{worst:+.1%}")
    console.print(table)
    said = "flat" if drift.flat() else f"NOT flat, to ±{ALLOWED:.0%}"
    console.print(f"{case}: {said}")


def run_case(case: str, broker: Broker, *, delivery: str, minutes: int, warmup: float) -> Drift:
    """Run a node under one of the conditions, and watch it."""
    contender = CONTENDERS["repertory-eo" if delivery == "exactly-once" else "repertory"]
    drift = Drift()
    with tempfile.TemporaryDirectory(prefix="rb-") as name, contextlib.ExitStack() as stack:
        workload = workload_of(case, Path(name))
        stock = Stock(broker, workload)
        stack.callback(broker.delete, stock.topic)
        console.print(f"{case}: laying in records")
        stock.have(2 * _STOCK, lambda _: None)
        job = stack.enter_context(
            job_for(contender, workload, broker=broker, records=stock.topic, folder=Path(name))
        )
        counter = Counter(broker, contender, job)
        stack.callback(counter.close)
        running = stack.enter_context(contender.start(job))
        wait_for(counter, 1, running)
        condition: AbstractContextManager[None] = contextlib.nullcontext()
        if case == "slow-broker":
            assert broker.pid is not None
            condition = throttled(broker.pid, STOPPED)
        with condition:
            console.print(f"{case}: warming up for {warmup:g} s")
            time.sleep(warmup)
            console.print(f"{case}: watching for {minutes} minutes")
            processes = Processes(with_job(job.file))
            done = watch(drift, processes, stock, counter, minutes)
            running.check()
        console.print(f"{case}: {done:,} records, {done / minutes / 60:,.0f} a second")
    return drift


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--case", "cases", type=click.Choice(CASES), multiple=True, default=CASES)
@click.option("--minutes", default=10, show_default=True, help="Of each case.")
@click.option("--warmup", default=120.0, show_default=True, help="Seconds before that.")
@click.option(
    "--delivery",
    type=click.Choice(["at-least-once", "exactly-once"]),
    default="at-least-once",
    show_default=True,
)
@click.option("--broker", type=click.Choice(["apache", "embedded"]), default="apache")
def main(cases: tuple[str, ...], minutes: int, warmup: float, delivery: str, broker: str) -> None:
    """Run the cases and print."""
    console.print(f"about {len(cases) * (minutes + warmup / 60 + 0.5):.0f} minutes")
    flat = True
    for case in cases:
        try:
            with running_broker(broker) as running:
                drift = run_case(case, running, delivery=delivery, minutes=minutes, warmup=warmup)
        except ContenderFailed as error:
            raise click.ClickException(f"{case}: {error}") from error
        show(case, drift)
        flat = flat and drift.flat()
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
