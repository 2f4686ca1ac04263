"""Repertory's Kafka road beside a plain loop and beside other stream processors.

    python -m benchmarks.stream [--contenders …] [--workloads …] [--seconds S] [--rounds N] …

All contenders read the same records from the same broker, score them with the same ONNX file, and
write equivalent results. They take turns (a busy machine then slows all of them alike). Each trial
measures first how many records a second a contender gets through, with what cost, and then the
latency at half of that rate. docs/benchmarks.md tells the method.
"""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from benchmarks.machine import machine
from benchmarks.stream_broker import running_broker
from benchmarks.stream_contender import Contender, ContenderFailed
from benchmarks.stream_contenders import CONTENDERS
from benchmarks.stream_record import OtherSettings, Record
from benchmarks.stream_stage import prepare
from benchmarks.stream_table import markdown
from benchmarks.stream_trial import Length, Result, Trials
from benchmarks.stream_workloads import WORKLOADS, Workload
from rich.console import Console
from rich.markup import escape

LATE_MS = 20.0
"""More than a busy machine's clock: the writer of records could not keep its schedule."""

BUSY = 0.7
"""Load average (of the last minute) above which others than the benchmark are at work."""

START_SECONDS = 6.0
"""About what a contender takes to come up and to end, for the estimate."""

console = Console()


class Choice(click.ParamType[list[str]]):
    """Some of the known names, with commas between them."""

    name = "names"

    def __init__(self, known: list[str]) -> None:
        self._known = known

    def convert(self, value: Any, param: Any, ctx: Any) -> list[str]:
        """Return the names."""
        if isinstance(value, list):
            return value
        wanted = [name.strip() for name in value.split(",") if name.strip()]
        for name in wanted:
            if name not in self._known:
                self.fail(f"{name!r} is none of {', '.join(self._known)}", param, ctx)
        return [name for name in self._known if name in wanted]


def estimate(length: Length, trials: int) -> float:
    """Return about how many seconds so many trials take."""
    each = START_SECONDS + length.warmup + length.seconds
    if length.latency_seconds:
        each += START_SECONDS + length.warmup + length.latency_seconds
    return each * trials


def run_all(
    record: Record,
    trials: Trials,
    workloads: list[Workload],
    contenders: list[Contender],
    rounds: int,
) -> None:
    """Run what was not run yet, round by round; one that fails does not stop the others."""
    for workload in workloads:
        console.print(f"{workload.name}: rehearsal")
        trials.rehearse(workload, contenders[0])
    for number in range(1, rounds + 1):
        for workload in workloads:
            for contender in contenders:
                if record.has(number, workload.name, contender.name):
                    continue
                console.print(f"round {number}, {workload.name}: {contender.name}", end=" ")
                try:
                    result = trials.run(number, workload, contender)
                except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                    why = str(error) if isinstance(error, ContenderFailed) else repr(error)
                    result = Result(number, workload.name, contender.name, failure=why)
                record.add(result)
                console.print(told(result), highlight=False, soft_wrap=True)


def told(result: Result) -> str:
    """Return a line about a result."""
    if result.failure is not None:
        return f"[red]FAILED[/]: {escape(result.failure)}"
    latency = (
        "" if result.p50_ms is None else f", p50 {result.p50_ms:.1f} p99 {result.p99_ms:.1f} ms"
    )
    if result.late_ms > LATE_MS:
        latency += f" [yellow](records were written {result.late_ms:.0f} ms late)[/]"
    missing = f", [red]{result.missing} missing[/]" if result.missing else ""
    return (
        f"[bold]{result.rate:,.0f}/s[/] over {result.seconds:.1f} s{latency}{missing}, "
        f"{result.cpu_per_100k:.2f} CPU s/100k (broker {result.broker_cpu_per_100k:.2f}), "
        f"{result.peak_mb:.0f} MB"
    )


def show(record: Record) -> None:
    """Print the tables in Markdown, to be pasted."""
    titles = {name: (each.title, each.guarantee) for name, each in CONTENDERS.items()}
    for workload in WORKLOADS:
        if any(result.workload == workload for result in record.results):
            print(f"\n### {workload}\n")
            print("\n".join(markdown(record.results, workload, titles)))
    print(f"\n{record.facts['machine']}; {record.facts['broker']}.")
    for versions in dict.fromkeys(record.facts["versions"].values()):
        names = [name for name, each in record.facts["versions"].items() if each == versions]
        print(f"* {', '.join(names)}: {versions}")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for all that contenders write; its path is short, as sockets go in it."""
    with tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--contenders", type=Choice(list(CONTENDERS)), default=",".join(CONTENDERS), show_default=True
)
@click.option(
    "--workloads", type=Choice(list(WORKLOADS)), default=",".join(WORKLOADS), show_default=True
)
@click.option("--seconds", default=60.0, show_default=True, help="Of measuring the rate.")
@click.option("--warmup", default=10.0, show_default=True, help="Seconds before that.")
@click.option(
    "--latency-seconds", type=float, help="Of measuring latency; half of --seconds, 0 for none."
)
@click.option(
    "--latency-rate",
    type=click.FloatRange(min=1),
    help="Records/s at which latency is measured; half of each one's own rate, if not given.",
)
@click.option("--rounds", default=5, show_default=True)
@click.option(
    "--broker", default="apache", show_default=True, help="apache, embedded, or HOST:PORT."
)
@click.option(
    "--json",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep results in this file; a run that was stopped goes on from there.",
)
def main(
    contenders: list[str],
    workloads: list[str],
    rounds: int,
    broker: str,
    path: Path | None,
    **times: Any,
) -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, _stop)
    if times["latency_seconds"] is None:
        times["latency_seconds"] = times["seconds"] / 2
    length = Length(**times)
    chosen = [CONTENDERS[name] for name in contenders]
    record = Record(path, {**times, "broker": broker})
    try:
        record.load()
    except OtherSettings as error:
        raise click.ClickException(str(error)) from error
    due = sum(
        not record.has(number, workload, name)
        for number in range(1, rounds + 1)
        for workload in workloads
        for name in contenders
    )
    if due:
        announce(estimate(length, due) + estimate(length.rehearsal(), len(workloads)), due)
        try:
            run(record, length, broker, workloads=workloads, contenders=chosen, rounds=rounds)
        except KeyboardInterrupt:
            console.print("stopped")
    if record.results:
        show(record)


def announce(seconds: float, trials: int) -> None:
    """Say how long it takes, and whether the machine is fit for it."""
    end = time.strftime("%H:%M", time.localtime(time.time() + seconds))
    console.print(f"{trials} trials, about {seconds / 60:.0f} minutes; done at {end}")
    if (load := os.getloadavg()[0]) > BUSY:
        console.print(f"[yellow]the machine is busy (load {load:.1f}): read the ratios only[/]")


def run(
    record: Record,
    length: Length,
    broker: str,
    *,
    workloads: list[str],
    contenders: list[Contender],
    rounds: int,
) -> None:
    """Start the broker, and run what was not run yet."""
    with folder() as place, running_broker(broker) as running, console.status("") as status:
        versions = {each.name: each.versions() for each in contenders}
        record.note({"machine": machine(), "broker": running.name}, versions)
        made = [WORKLOADS[name]() for name in workloads]
        for workload in made:
            status.update(f"{workload.name}: the model goes through the green room")
            prepare(workload, place / f"{workload.name}-prepared")
        trials = Trials(running, place, length, status.update)
        run_all(record, trials, made, contenders, rounds)


if __name__ == "__main__":
    main()
