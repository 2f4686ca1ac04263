"""Repertory's HTTP face and its gRPC beside other model servers, and beside plain FastAPI.

All serve the same ONNX file, in one run. They take turns, round by round, each begun by another; a
server runs only while it is measured. It is asked in each of its forms: by 1, 16 and 64 clients
that wait for their answers, and then at half of the most that it reached, at moments of chance,
where a latency counts from the moment at which the request was due.

The peers live in environments of their own, which the first run makes (.cache/benchmarks, 2 GB).
docs/benchmarks.md tells the method.

Examples:
  python -m benchmarks.http_peers --rounds 1 --seconds 1 --only repertory,fastapi
  python -m benchmarks.http_peers --json peers.json --markdown
  python -m benchmarks.http_peers --only repertory --tree before=../before
"""

import itertools
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson
from benchmarks.http_servers import PEERS, REPERTORY, Server, remove, repertory
from benchmarks.http_table import markdown, medians, verdicts
from benchmarks.http_trial import Length, Result, visit
from benchmarks.machine import machine
from benchmarks.stream import Choice, announce, console
from benchmarks.stream_environments import environment_python
from rich.markup import escape

CLIENTS = (1, 16, 64)
START_SECONDS = 8.0
"""About what a server takes to come up and to end, for the estimate."""

NAMES = [REPERTORY, *PEERS]


def servers_of(names: Sequence[str], trees: Sequence[str]) -> list[Server]:
    """Return the servers that are asked for. Raises click.BadParameter."""
    own = [repertory()] if REPERTORY in names else []
    for text in trees:
        name, equals, folder = text.partition("=")
        if not equals or not (Path(folder) / "src" / "repertory").is_dir():
            raise click.BadParameter(f"{text!r} is not NAME=FOLDER of a checkout of Repertory")
        own.append(repertory(name, Path(folder).resolve()))
    return own + [server for name in names if name in PEERS for server in PEERS[name].servers()]


def run(
    servers: Sequence[Server], length: Length, rounds: int, keep: list[Result], path: Path | None
) -> None:
    """Visit all servers, round by round; results are kept, and written, as they come."""
    with tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as place:
        for number in range(1, rounds + 1):
            begin = (number - 1) * len(servers) // rounds
            for turn, server in enumerate([*servers[begin:], *servers[:begin]], 1):
                folder = Path(place) / f"{number}-{turn}"
                about = f"round {number}, {turn} of {len(servers)}: {server.key}"
                with console.status(about) as status:
                    say = _saying(status, about)
                    for result in visit(server, number, folder, length, say):
                        keep.append(result)
                        console.print(f"{about}, {told(result)}", highlight=False, soft_wrap=True)
                remove(folder)
                if path is not None:
                    path.write_bytes(orjson.dumps(_document(servers, length, keep)))


def _saying(status: Any, about: str) -> Any:
    return lambda what: status.update(f"{about}: {what}")


def told(result: Result) -> str:
    """Return a line about a result."""
    if result.failure is not None:
        return f"{result.form} [red]FAILED[/]: {escape(result.failure)}"
    return (
        f"{result.form}, {result.load}: [bold]{result.rate:,.0f}/s[/], p50 {result.p50_ms:.2f}"
        f" p99 {result.p99_ms:.2f} ms, {result.cpu_per_thousand:.2f} CPU s per 1,000 (the load"
        f" {result.client_cores:.2f} cores), {result.memory_mb:.0f} MB in {result.processes},"
        f" the largest {result.largest_mb:.0f}"
    )


def _document(servers: Sequence[Server], length: Length, results: list[Result]) -> dict[str, Any]:
    return {
        "machine": machine(),
        "length": asdict(length),
        "versions": {server.name: server.versions() for server in servers},
        "results": [asdict(result) for result in results],
    }


def show(servers: Sequence[Server], results: Sequence[Result]) -> None:
    """Print the tables, to be pasted, and what follows of them."""
    found = medians(results)
    print("\n".join(markdown(found, servers)))
    print(f"\n{machine()}.")
    for name, versions in {server.name: server.versions() for server in servers}.items():
        print(f"* {name}: {versions}")
    most = max((each.client_cores for each in found.results.values()), default=0.0)
    print(f"\nThe load itself took {most:.2f} cores at most.")


def estimate(servers: Sequence[Server], length: Length) -> float:
    """Return about how many seconds a round takes."""
    return sum(START_SECONDS + length.form_seconds * len(server.forms) for server in servers)


# What follows the mark, click leaves as it is.
@click.command(help=__doc__.replace("Examples:", "\b\nExamples:"))
@click.option(
    "--only",
    type=Choice(NAMES),
    default=",".join(NAMES),
    show_default=True,
    help="Servers, with commas between them.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--seconds", default=3.5, show_default=True, type=click.FloatRange(min=0.1), help="Of a load."
)
@click.option("--warm", default=0.5, show_default=True, help="Seconds before that.")
@click.option(
    "--tree", "trees", multiple=True, metavar="NAME=FOLDER", help="Another checkout of Repertory."
)
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--markdown", "only_tables", is_flag=True, help="Print no verdict below the tables.")
def main(
    *,
    only: list[str],
    rounds: int,
    seconds: float,
    warm: float,
    trees: tuple[str, ...],
    path: Path | None,
    only_tables: bool,
) -> None:
    servers = servers_of(only, trees)
    for name in only:
        if name in PEERS:
            with console.status(f"the environment of {name}"):
                environment_python(name)
    length = Length(seconds, warm, CLIENTS)
    announce(estimate(servers, length) * rounds, rounds * len(servers))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results: list[Result] = []
    began = time.monotonic()
    try:
        run(servers, length, rounds, results, path)
    except KeyboardInterrupt:
        console.print("stopped: what follows is of fewer rounds")
    console.print(f"after {(time.monotonic() - began) / 60:.1f} minutes\n")
    if results:
        show(servers, results)
        if not only_tables:
            print("\n".join(itertools.chain([""], verdicts(medians(results), servers))))


if __name__ == "__main__":
    main()
