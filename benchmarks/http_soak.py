"""A node under load for an hour, with a model swap every ten seconds: nothing fails, memory is flat.

    python -m benchmarks.http_soak [--requests N] [--minutes M] [--swap-seconds S] [--json FILE]

Clients of all protocols ask at a steady pace, whatever the node takes (an open loop): latency is
counted from the moment that a request was due. Of each reply is checked: the status, how many
outcomes there are, that no version older than any that was seen before it was sent answers, and
that the answers are those of that version's model. Nothing is tried again. Exit code 1 if anything
failed, or a process grows.
"""

import asyncio
import base64
import os
import socket
import sys
import tempfile
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import click
import grpc.aio
import numpy as np
import orjson
import yaml
from benchmarks.machine import machine
from benchmarks.soak_clients import (
    Answer,
    Client,
    Connection,
    GrpcClient,
    OipBinaryClient,
    OipClient,
    Rows,
    ScoreClient,
    Table,
    TensorFlowClient,
    Wrong,
    same,
)
from benchmarks.soak_memory import MEBIBYTE, Watch, course_table, folder_bytes, sample
from rich import table as rich_table
from rich.console import Console

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).resolve().parent.parent
WINE = ROOT / "examples" / "wine"
# Formats take turns. What needs TensorFlow to be checked is one in eight.
MODELS = (
    "02-random-forest.onnx",
    "01-decision-tree.pmml",
    "05-mlp.onnx",
    "03-linear-regression.pmml",
    "04-mlp-saved-model.zip",
    "06-random-forest.pmml",
    "02-random-forest.onnx",
    "08-mlp.pmml",
)
CONNECTIONS = 4  # of each protocol
SAMPLE_SECONDS = 10.0
SHOWN = 20  # failures that are told in full

console = Console(width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True, slots=True)
class Kind:
    """A protocol, how it is spoken, and how many records a request has."""

    name: str
    connect: Callable[[], Client]
    records: int


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    requests: int
    seconds: dict[str, "array[float]"]
    failures: Counter[str]
    told: list[str]
    swaps: int = 0
    late_swaps: int = 0

    @property
    def done(self) -> int:
        """Requests that were answered or failed."""
        return sum(map(len, self.seconds.values())) + self.failed

    @property
    def failed(self) -> int:
        """Failures, of swaps too."""
        return self.failures.total()

    def fail(self, what: str, error: object) -> None:
        """Count a failure, and tell of the first ones."""
        self.failures[what] += 1
        if len(self.told) < SHOWN:
            self.told.append(f"{time.strftime('%H:%M:%S')} {what}: {error}"[:1000])
            console.print(f"[red]{self.told[-1]}[/red]", highlight=False)


class Soak:
    """Loads a node, and checks all that it says."""

    def __init__(self, node: LocalNode, *, requests: int, seconds: float, swap: float) -> None:
        self.node, self.seconds, self.swap = node, seconds, swap
        features = node.config.data_types["wine"].features
        port, grpc_port = node.config.http.port, node.config.http.grpc_port
        assert grpc_port is not None
        self.kinds = (
            Kind("score, 1 record", lambda: ScoreClient(port, features), 1),
            Kind("score, 8 records", lambda: ScoreClient(port, features), 8),
            Kind("OIP JSON, 2 records", lambda: OipClient(port, features), 2),
            Kind("OIP binary, 4 records", lambda: OipBinaryClient(port, features), 4),
            Kind("OIP gRPC, 4 records", lambda: GrpcClient(grpc_port), 4),
            Kind("TF Serving, 2 records", lambda: TensorFlowClient(port, features), 2),
        )
        self.rows = _wines()
        self.table = Table.empty()
        self.tally = Tally(requests, defaultdict(lambda: array("d")), Counter(), [])
        self.watch = Watch()
        self.versions: dict[int, str] = {}  # by what replies say
        self.newest = 0  # that any client saw
        self.disk: list[int] = []
        self._due: dict[str, asyncio.Queue[tuple[int, float]]] = {}
        self._publisher = Connection(port)
        self._published: dict[int, str] = {}

    async def run(self) -> None:
        """Fill the table, load the node for the time, and compare what was seen with the journal."""
        await self._fill_table()
        self._due = {kind.name: asyncio.Queue() for kind in self.kinds}
        began = time.monotonic()
        beside = [
            asyncio.create_task(each)
            for each in (self._swap(began), self._look(), self._progress())
        ]
        askers = [
            asyncio.create_task(self._ask(kind)) for kind in self.kinds for _ in range(CONNECTIONS)
        ]
        await self._pace(began)
        await asyncio.gather(*(queue.join() for queue in self._due.values()))
        for task in (*beside, *askers):
            task.cancel()
        ended = await asyncio.gather(*beside, *askers, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                self.tally.fail("the soak itself", repr(error))
        for version, sha256 in self.versions.items():
            # The swap that was under way at the end may have no reply.
            if self._published.get(version, sha256) != sha256:
                self.tally.fail("versions", f"{version} was seen with {sha256}")

    async def _fill_table(self) -> None:
        """Publish each model, ask it for all records, and compare with what its maker says."""
        expected = np.load(WINE / "models" / "expected.npz")
        client = ScoreClient(
            self.node.config.http.port, self.node.config.data_types["wine"].features
        )
        for name in dict.fromkeys(MODELS):
            await self._publish(name)
            answer = await client.ask(self.rows)
            stem = name.partition(".")[0]
            known = "labels" if f"{stem}.labels" in expected else "values"
            if not same(expected[f"{stem}.{known}"].tolist(), answer.said):
                raise click.ClickException(f"{name} does not answer as expected.npz says")
            self.table.said[answer.sha256] = answer.said
            self.newest = answer.version
        await client.close()

    async def _publish(self, name: str) -> None:
        data = base64.b64encode((WINE / "models" / name).read_bytes()).decode()
        body = orjson.dumps({"dataType": "wine", "name": name.partition(".")[0][3:], "data": data})
        status, _, told = await self._publisher.post(
            "/models", body, "Content-Type: application/json\r\n"
        )
        if status != 201:
            raise Wrong(f"publishing {name}: {status} {told.decode(errors='replace')}")
        reply = orjson.loads(told)
        self._published[reply["version"]] = reply["sha256"]

    async def _pace(self, began: float) -> None:
        """Put each request in line when it is due."""
        each = self.seconds / self.tally.requests
        given = 0
        while given < self.tally.requests:
            now = time.monotonic()
            for number in range(given, min(int((now - began) / each), self.tally.requests)):
                kind = self.kinds[number % len(self.kinds)]
                self._due[kind.name].put_nowait((number, began + number * each))
                given = number + 1
            await asyncio.sleep(max(0.0, began + (given + 1) * each - time.monotonic()))

    async def _ask(self, kind: Kind) -> None:
        client, due = kind.connect(), self._due[kind.name]
        try:
            while True:
                number, when = await due.get()
                first = number * 7 % (len(self.rows) - kind.records)
                oldest = self.newest
                try:
                    answer = await client.ask(self.rows[first : first + kind.records])
                    self._check(answer, first, kind.records, oldest=oldest)
                    self.tally.seconds[kind.name].append(time.monotonic() - when)
                except (
                    Wrong,
                    OSError,
                    EOFError,
                    ValueError,
                    LookupError,
                    grpc.aio.AioRpcError,
                ) as e:
                    self.tally.fail(kind.name, repr(e))
                due.task_done()
        finally:
            await client.close()

    def _check(self, answer: Answer, first: int, count: int, *, oldest: int) -> None:
        self.table.check(answer, first, count)
        if answer.version < oldest:
            raise Wrong(f"version {answer.version} answers after {oldest} was seen")
        if self.versions.setdefault(answer.version, answer.sha256) != answer.sha256:
            raise Wrong(f"version {answer.version} is {answer.sha256} as well")
        self.newest = max(self.newest, answer.version)

    async def _swap(self, began: float) -> None:
        for number, name in enumerate(cycle(MODELS), 1):
            late = time.monotonic() - (began + number * self.swap)
            self.tally.late_swaps += late > 0
            await asyncio.sleep(max(0.0, -late))
            try:
                await self._publish(name)
                self.tally.swaps += 1
            except (Wrong, OSError, EOFError) as error:
                self.tally.fail("swap", repr(error))

    async def _look(self) -> None:
        data = Path(self.node.config.data_dir)
        while True:
            pids = [self.node.pid, *self.node.processes()]
            self.watch.add(await asyncio.to_thread(sample, pids))
            self.disk.append(await asyncio.to_thread(folder_bytes, data))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _progress(self) -> None:
        every, began = max(5.0, min(60.0, self.seconds / 12)), time.monotonic()
        while True:
            await asyncio.sleep(every)
            tally, elapsed = self.tally, time.monotonic() - began
            done = elapsed / self.seconds
            bar = "#" * round(20 * min(1.0, done))
            console.print(
                f"\\[{bar:<20}] {done:4.0%} {tally.done:,} of {tally.requests:,} requests,"
                f" {tally.failed} failed, {tally.swaps} swaps, {self.watch.mebibytes:.0f} MiB,"
                f" {self.disk[-1] / MEBIBYTE:.0f} MiB on disk",
                highlight=False,
            )


def _wines() -> Rows:
    file = WINE / "data" / "winequality-red.csv"
    head = file.read_text().partition("\n")[0]
    return np.loadtxt(file, delimiter=";" if ";" in head else ",", skiprows=1)[:, :11]


def latency_table(seconds: dict[str, "array[float]"]) -> rich_table.Table:
    """Return milliseconds by protocol."""
    table = rich_table.Table("protocol", title="Latency from when a request was due, ms")
    for heading in ("requests", "p50", "p99", "max"):
        table.add_column(heading, justify="right")
    for name in sorted(seconds):
        taken = np.array(seconds[name]) * 1000
        figures = (np.median(taken), np.percentile(taken, 99), taken.max())
        table.add_row(name, f"{len(taken):,}", *(f"{each:.1f}" for each in figures))
    return table


def report(soak: Soak, warm_seconds: float, file: Path | None) -> bool:
    """Print what was found; whether all is well."""
    tally, courses = soak.tally, soak.watch.courses(warm_seconds)
    console.print(f"\n{machine()}")
    console.print(latency_table(tally.seconds))
    console.print(course_table(courses))
    disk = [size / MEBIBYTE for size in soak.disk]
    console.print(
        f"data_dir: {disk[0]:.1f} MiB at the start, {disk[len(disk) // 2]:.1f} half way,"
        f" {disk[-1]:.1f} at the end"
    )
    console.print(
        f"{tally.done:,} of {tally.requests:,} requests, {tally.failed} failures"
        f" {dict(tally.failures) or ''}; {tally.swaps} swaps ({tally.late_swaps} began late),"
        f" {len(soak.versions)} versions answered"
    )
    flat = all(each.flat for each in courses)
    well = not tally.failed and tally.done == tally.requests and flat
    console.print(
        f"[bold]{'PASSED' if well else 'FAILED'}[/bold]: memory is {'flat' if flat else 'NOT flat'}"
    )
    if file is not None:
        figures = {
            "requests": tally.done,
            "failures": tally.failures,
            "told": tally.told,
            "swaps": tally.swaps,
            "disk_mib": disk,
            "courses": [asdict(each) for each in courses],
        }
        file.write_bytes(orjson.dumps(figures))
    return well


def _free_ports(count: int) -> Sequence[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _configure(folder: Path) -> Path:
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    port, grpc_port = _free_ports(2)
    document |= {"data_dir": str(folder / "data"), "http": {"port": port, "grpc_port": grpc_port}}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--requests", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option("--minutes", default=60.0, show_default=True, help="Over which they are spread.")
@click.option("--swap-seconds", default=10.0, show_default=True)
@click.option("--warm-minutes", default=15.0, show_default=True, help="Left out of the slopes.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="For the figures.")
def main(
    requests: int, minutes: float, swap_seconds: float, warm_minutes: float, file: Path | None
) -> None:
    """Run, and print."""
    # The code of this tree, in all processes of the node, whatever is installed.
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    warm = min(warm_minutes, minutes / 4) * 60
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with LocalNode(_configure(folder), log=folder / "node.log") as node:
            node.wait_until(ready=False)
            soak = Soak(node, requests=requests, seconds=minutes * 60, swap=swap_seconds)
            console.print(f"{requests:,} requests in {minutes:g} minutes, at {node.url}")
            asyncio.run(soak.run())
            well = report(soak, warm, file)
            if not well:
                console.print(node.log_tail(), highlight=False, markup=False)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
