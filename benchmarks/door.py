"""How fast is a door? Beside a bare asyncio echo and beside Thespian's ask.

    python -m benchmarks.door [--rounds N] [--seconds S] [--json FILE]

Three ways to have a question answered by another process, measured in turns (a busy machine then
slows all of them alike), at 1, 16 and 64 callers who each wait for their answer before they ask
again:

* bare echo: an asyncio server on a UNIX socket that sends back what it gets, as many bytes as a
  door's frame with one record; one connection for each caller.
* door: a wine is scored by a model. Client, router, serving actor and back, over two doors; all
  callers share one connection. Batches of 1 record and of 100.
* Thespian ask: an actor of a hardened system sends back what it gets; one context and thread for
  each caller.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.wine import FEATURES, MODEL, WINE

CONCURRENCIES = (1, 16, 64)
WAYS = ("bare echo", "door, 1 record", "door, 100 records", "Thespian ask")
ALLOWED = 4.0  # times the bare echo, at the highest concurrency


@dataclass(frozen=True)
class Result:
    """One way at one concurrency; times are milliseconds, of one round trip."""

    way: str
    concurrency: int
    p50: float
    p99: float
    per_second: float


Call = Callable[[], Awaitable[object]]


def summarise(way: str, concurrency: int, times: list[float], seconds: float) -> Result:
    """Return what `times` (seconds) come to."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return Result(way, concurrency, cuts[49] * 1000, cuts[98] * 1000, len(times) / seconds)


# --- the bare echo


async def serve_echo(path: str) -> None:
    """Send back what comes; runs until it is killed."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(echo, path)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def echo_callers(path: Path, size: int) -> AsyncIterator[list[Call]]:
    """Open a connection for each caller."""
    message = secrets.token_bytes(size)

    def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
        async def call() -> bytes:
            writer.write(message)
            return await reader.readexactly(size)

        return call

    links = [await asyncio.open_unix_connection(str(path)) for _ in range(max(CONCURRENCIES))]
    yield [caller(*link) for link in links]
    for _, writer in links:
        writer.close()


# --- the door


def write_config(folder: Path) -> Path:
    """Write a cluster.yaml of one node that serves wine, without faces; return its path."""
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": list(FEATURES)}
    document = {
        "data_dir": str(folder / "data"),
        "http": {"enabled": False},
        "data_types": {"wine": wine},
    }
    path = folder / "cluster.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


@contextlib.asynccontextmanager
async def door_callers(config_path: Path) -> AsyncIterator[tuple[Call, Call, int]]:
    """Stage a model; give a call of 1 record, one of 100, and the bytes of a frame of the first."""
    from repertory.actors.batch import RecordBatch, encode_records
    from repertory.actors.client import RouterClient
    from repertory.actors.frames import encode_frame
    from repertory.config import NodePaths, load_config
    from repertory.protos.door_pb2 import Envelope
    from repertory.protos.winerecord_pb2 import WineRecord

    config = load_config(config_path, {})
    record = WineRecord(**WINE, dataType="wine").SerializeToString()
    async with RouterClient(NodePaths(config, "a").router_door, role="benchmark") as client:
        async with asyncio.timeout(60):
            await client.connected.wait()
        staged = await client.ask("stage", timeout=60, **prepare_model(config_path))
        if not staged["staged"]:
            raise RuntimeError(f"the model could not be staged: {staged}")

        def caller(count: int) -> Call:
            batch = RecordBatch("wine", [record] * count)
            return lambda: client.score(batch, timeout=30)

        envelope = Envelope(
            kind=Envelope.Kind.SCORE, correlation_id=1, data_type="wine", count=1, budget_ms=30000
        )
        yield caller(1), caller(100), len(encode_frame(envelope, encode_records([record])))


def prepare_model(config_path: Path) -> dict[str, object]:
    """Send the example's MLP through the green room; return the staging of it."""
    from repertory.actors.messages import StageModel
    from repertory.config import load_config
    from repertory.models.green_room import GreenRoom
    from repertory.models.prepared import save_prepared
    from repertory.models.schema import schema_of
    from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

    config = load_config(config_path, {})
    schemas = {name: schema_of(name, item) for name, item in config.data_types.items()}
    content = MODEL.read_bytes()
    descriptor = ModelDescriptor(
        name="mlp", dataType="wine", modeltype=ModelDescriptor.ModelType.ONNX, data=content
    )
    room = GreenRoom(config.models, schemas)
    try:
        admitted = room.prepare(descriptor.SerializeToString())
    finally:
        room.close()
    folder = config_path.parent / "prepared"
    save_prepared(admitted.prepared, folder)
    return asdict(StageModel("wine", 1, 1, "mlp", "", "ONNX", admitted.sha256, str(folder)))


# --- Thespian


class Asker:
    """A hardened actor system with an echo actor, asked from threads."""

    def __init__(self, folder: Path, size: int) -> None:
        os.environ.setdefault("THESPLOG_FILE", str(folder / "thespian.log"))
        os.environ["REPERTORY_WIRE_KEY"] = secrets.token_hex(32)
        from benchmarks.echo_actor import EchoActor

        from repertory.actors.wire import actor_system

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._message = secrets.token_bytes(size)
        self._system = actor_system(admin_port=port)
        self._actor = self._system.createActor(EchoActor)
        self._ask(self._system)

    def _ask(self, context: object) -> None:
        if context.ask(self._actor, self._message, 30) != self._message:  # type: ignore[attr-defined]
            raise RuntimeError("the echo actor did not answer")

    def measure(self, concurrency: int, seconds: float) -> Result:
        """Ask from `concurrency` threads for a while."""
        times: list[float] = []
        gate = threading.Barrier(concurrency + 1)

        def ask() -> None:
            with self._system.private() as context:  # type: ignore[attr-defined]
                self._ask(context)
                gate.wait()
                end = time.perf_counter() + seconds
                while (start := time.perf_counter()) < end:
                    self._ask(context)
                    times.append(time.perf_counter() - start)

        threads = [threading.Thread(target=ask) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        gate.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        return summarise("Thespian ask", concurrency, times, time.perf_counter() - start)

    def close(self) -> None:
        """End the system."""
        self._system.shutdown()


# --- measuring


async def measure(way: str, calls: list[Call], seconds: float) -> Result:
    """Have each call made again and again for a while."""
    times: list[float] = []

    async def repeat(call: Call, end: float) -> None:
        while (start := time.perf_counter()) < end:
            await call()
            times.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(repeat(call, start + seconds) for call in calls))
    return summarise(way, len(calls), times, time.perf_counter() - start)


async def one_round(
    echo: list[Call], door: tuple[Call, Call], asker: Asker, seconds: float
) -> list[Result]:
    """Measure every way at every concurrency, once."""
    results = []
    for concurrency in CONCURRENCIES:
        results += [
            await measure(WAYS[0], echo[:concurrency], seconds),
            await measure(WAYS[1], [door[0]] * concurrency, seconds),
            await measure(WAYS[2], [door[1]] * concurrency, seconds),
            asker.measure(concurrency, seconds),
        ]
    return results


def median_of(rounds: list[list[Result]]) -> list[Result]:
    """Return the median of each number over the rounds."""
    grouped: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in (result for results in rounds for result in results):
        grouped[result.way, result.concurrency].append(result)
    return [
        Result(way, concurrency, *(
            statistics.median(getattr(result, name) for result in results)
            for name in ("p50", "p99", "per_second")
        ))
        for (way, concurrency), results in grouped.items()
    ]  # fmt: skip


def ratio(results: list[Result]) -> float:
    """Return how many times more round trips the echo makes than the door, at most callers."""
    rates = {
        result.way: result.per_second
        for result in results
        if result.concurrency == max(CONCURRENCIES)
    }
    return rates[WAYS[0]] / rates[WAYS[1]]


@contextlib.contextmanager
def echo_process(path: Path) -> Iterator[None]:
    """Run the echo in a process of its own."""
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.door", "--be-echo", str(path)])
    try:
        while not path.exists():
            time.sleep(0.01)
        yield
    finally:
        child.terminate()
        child.wait(30)


async def run(rounds: int, seconds: float) -> list[list[Result]]:
    """Start everything, measure, end everything."""
    from repertory.actors.local_node import LocalNode

    with tempfile.TemporaryDirectory(prefix="repertory-door-") as name:
        folder = Path(name)
        config, path = write_config(folder), folder / "echo.sock"
        with echo_process(path), LocalNode(config, log=folder / "node.log"):
            async with (
                door_callers(config) as (one, hundred, size),
                echo_callers(path, size) as echo,
            ):
                asker = Asker(folder, size)
                try:
                    await one_round(echo, (one, hundred), asker, seconds / 4)  # to warm up
                    return [
                        await one_round(echo, (one, hundred), asker, seconds) for _ in range(rounds)
                    ]
                finally:
                    asker.close()


def machine() -> str:
    """Return what this was measured on."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
        return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{platform.processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def show(results: list[Result]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Round trips (records of one batch together)\n{machine()}")
    for heading in ("callers", "way", "p50 ms", "p99 ms", "per second", "echo ÷ this"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    echo = {item.concurrency: item.per_second for item in results if item.way == WAYS[0]}
    for item in sorted(results, key=lambda item: (item.concurrency, WAYS.index(item.way))):
        numbers = f"{item.p50:.3f}", f"{item.p99:.3f}", f"{item.per_second:,.0f}"
        times = f"{echo[item.concurrency] / item.per_second:.1f}×"
        table.add_row(str(item.concurrency), item.way, *numbers, times)
        if item.way == WAYS[-1]:
            table.add_section()
    console = Console()
    console.print(table)
    times = ratio(results)
    verdict = "within" if times <= ALLOWED else "NOT within"
    console.print(
        f"At {max(CONCURRENCIES)} callers the door is {times:.1f}× the bare echo: "
        f"{verdict} the {ALLOWED:g}× allowed."
    )


def main() -> int:
    """Measure; exit 1 when the door is not fast enough."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    parser.add_argument("--be-echo", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_echo:
        asyncio.run(serve_echo(arguments.be_echo))
    else:
        rounds = asyncio.run(run(arguments.rounds, arguments.seconds))
        results = median_of(rounds)
        show(results)
        if arguments.json:
            document = {
                "machine": machine(),
                "ratio": ratio(results),
                "results": [asdict(result) for result in results],
            }
            arguments.json.write_text(json.dumps(document, indent=2))
        return 0 if ratio(results) <= ALLOWED else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
