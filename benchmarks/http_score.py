"""What a `POST /score` of one record costs, at 1, 16 and 64 clients that wait for their answers.

    python -m benchmarks.http_score [--tree NAME=FOLDER …] [--clients N …] [--rounds N]
        [--seconds S] [--json FILE]

Each tree is a checkout of Repertory, whose node serves the perceptron of examples/wine; without
any, it is this one. All nodes are up at the same time and are asked in turns, so that a busy
machine slows all of them alike; what is printed are medians of the rounds. The clients are
connections of this process that are kept open. CPU is that of all processes of a node.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import orjson
import psutil
from benchmarks.http_forms import SCORE
from benchmarks.http_load import centile, closed
from benchmarks.http_repertory import started
from benchmarks.machine import machine
from benchmarks.wine import WINE

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = (1, 16, 64)
WARM_SECONDS = 0.5


@dataclass(frozen=True)
class Result:
    """A tree at a number of clients: requests a second, milliseconds, CPU seconds."""

    tree: str
    clients: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_per_thousand: float


def cpu_seconds(node: LocalNode) -> float:
    """Return the CPU time of all processes of a node so far."""
    total = 0.0
    for pid in node.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def measure(tree: str, node: LocalNode, clients: int, seconds: float) -> Result:
    """Measure a node once. Raises NotAnswered when a request was not scored."""
    before = cpu_seconds(node)
    makes = [partial(SCORE.connection, WINE)] * clients
    taken = closed(node.config.http.port, makes, warm=WARM_SECONDS, seconds=seconds)
    cpu = (cpu_seconds(node) - before) / taken.answered * 1000
    p50, p99 = centile(taken.latencies, 0.50), centile(taken.latencies, 0.99)
    return Result(tree, clients, taken.rate, p50, p99, cpu)


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
