"""What a `POST /score` of one record costs, at 1, 16 and 64 clients that wait for their answers.

    python benchmarks/http_score.py [--tree NAME=FOLDER …] [--clients N …] [--rounds N]
        [--seconds S] [--json FILE]

Each tree is a checkout of Repertory, whose node serves the perceptron of examples/wine; without
any, it is this one. All nodes are up at the same time and are asked in turns, so that a busy
machine slows all of them alike; what is printed are medians of the rounds. The clients are
connections of this process that are kept open. CPU is that of all processes of a node.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import socket
import statistics
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import psutil
import yaml
from machine import machine

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples" / "wine" / "models" / "05-mlp.onnx"
CLIENTS = (1, 16, 64)
WARM_SECONDS = 0.5
WINE = {
    "fixed_acidity": 7.4,
    "volatile_acidity": 0.7,
    "citric_acid": 0.0,
    "residual_sugar": 1.9,
    "chlorides": 0.076,
    "free_sulfur_dioxide": 11.0,
    "total_sulfur_dioxide": 34.0,
    "density": 0.9978,
    "pH": 3.51,
    "sulphates": 0.56,
    "alcohol": 9.4,
}


@dataclass(frozen=True)
class Result:
    """A tree at a number of clients: requests a second, milliseconds, CPU seconds."""

    tree: str
    clients: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_per_thousand: float


class Client(asyncio.Protocol):
    """Sends the same request again and again, when the reply to the last one is there."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent = 0.0
        self._stopped = asyncio.get_running_loop().create_future()
        self._stops = False
        self.seconds: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a reply, and send the next request."""
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._stopped.set_exception(RuntimeError(f"not scored: {self._buffer.decode()}"))
            return
        self.seconds.append(time.perf_counter() - self._sent)
        self._buffer = b""
        if self._stops:
            self._stopped.set_result(None)
        else:
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    async def stop(self) -> None:
        """Wait for the last reply, and hang up. Raises RuntimeError when a reply was no score."""
        assert self._transport is not None
        self._stops = True
        await self._stopped
        self._transport.close()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def ask(port: int, clients: int, seconds: float) -> list[float]:
    """Return how long each request took."""
    body = orjson.dumps(WINE)
    head = f"POST /score/wine HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    asking = [
        (await loop.create_connection(lambda: Client(head.encode() + body), "127.0.0.1", port))[1]
        for _ in range(clients)
    ]
    await asyncio.sleep(WARM_SECONDS)
    for each in asking:
        each.seconds.clear()
    await asyncio.sleep(seconds)
    taken = [each for client in asking for each in client.seconds]
    await asyncio.gather(*(each.stop() for each in asking))
    return taken


def cpu_seconds(node: LocalNode) -> float:
    """Return the CPU time of all processes of a node so far."""
    total = 0.0
    for pid in node.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def measure(tree: str, node: LocalNode, clients: int, seconds: float) -> Result:
    """Measure a node once."""
    before = cpu_seconds(node)
    began = time.perf_counter()
    taken = asyncio.run(ask(node.config.http.port, clients, seconds))
    ended = time.perf_counter()
    rate = len(taken) / seconds
    centiles = statistics.quantiles(taken, n=100)
    # The CPU is that of the whole time, in which about as many requests came as in the part of it.
    cpu = (cpu_seconds(node) - before) / (rate * (ended - began)) * 1000
    return Result(tree, clients, rate, centiles[49] * 1000, centiles[98] * 1000, cpu)


@contextlib.contextmanager
def started(tree: Path, folder: Path) -> Iterator[LocalNode]:
    """Run a node of a checkout that serves the model."""
    folder.mkdir()
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        document |= {"data_dir": str(folder / "data"), "http": {"port": probe.getsockname()[1]}}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    os.environ["PYTHONPATH"] = str(tree / "src")
    with LocalNode(path, log=folder / "node.log") as node:
        node.wait_until(ready=False)
        data = base64.b64encode(MODEL.read_bytes()).decode()
        model = orjson.dumps({"dataType": "wine", "name": "mlp", "data": data})
        json = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{node.url}/models", model, json)).close()
        node.wait_until()
        yield node


def compare(
    trees: Mapping[str, Path], callers: Sequence[int], *, rounds: int, seconds: float
) -> list[Result]:
    """Measure all trees in turns; the medians."""
    found: dict[tuple[str, int], list[Result]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        nodes = {
            name: stack.enter_context(started(tree, Path(folder) / name))
            for name, tree in trees.items()
        }
        for turn in range(rounds):
            for clients in callers:
                # Who goes first changes, so that nobody always follows the same.
                for name in list(nodes)[:: 1 if turn % 2 else -1]:
                    found[name, clients].append(measure(name, nodes[name], clients, seconds))
    return [_median(found[name, clients]) for clients in callers for name in trees]


def _median(results: list[Result]) -> Result:
    keys = ("rate", "p50_ms", "p99_ms", "cpu_per_thousand")
    medians = {key: statistics.median(getattr(each, key) for each in results) for key in keys}
    return Result(results[0].tree, results[0].clients, **medians)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trees = dict(each.split("=", 1) for each in options.tree) or {"here": str(ROOT)}
    folders = {name: Path(folder).resolve() for name, folder in trees.items()}
    results = compare(folders, options.clients, rounds=options.rounds, seconds=options.seconds)
    print(f"{machine()}\n")
    print("| tree | clients | requests/s | p50 ms | p99 ms | CPU s per 1,000 |")
    print("|---|---:|---:|---:|---:|---:|")
    for each in results:
        print(
            f"| {each.tree} | {each.clients} | {each.rate:,.0f} | {each.p50_ms:.2f}"
            f" | {each.p99_ms:.2f} | {each.cpu_per_thousand:.2f} |"
        )
    if options.json is not None:
        options.json.write_bytes(orjson.dumps([asdict(each) for each in results]))


if __name__ == "__main__":
    main()
