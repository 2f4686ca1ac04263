"""A node is sent wrong bytes at every door and port: it neither crashes nor hangs nor grows.

    python -m benchmarks.fuzz [--minutes N] [--seed N] [--only NAME …]

Valid frames and requests are made wrong, and sent to the UNIX doors of the router and of a serving
actor, to the TCP door between nodes (as a stranger, and as a node that has proved the secret), over
HTTP and gRPC. Beside it, clients that ask as they should are answered all the time. What must hold:
every process keeps its number, no reply is a 500 (or INTERNAL), nothing is silent, memory and open
files stay within bounds. Inputs of what is found are kept in `fuzz-findings`. Exit code 1 if
anything is.
"""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import grpc.aio
import numpy as np
import yaml
from benchmarks.fuzz_doors import as_peer, at_tcp_door, at_unix_door
from benchmarks.fuzz_faces import Finding, Grpc, Requests, at_http
from benchmarks.fuzz_mutations import Mutator
from benchmarks.soak_clients import GrpcClient, ScoreClient, Wrong
from benchmarks.soak_memory import MEBIBYTE, Sample, sample
from rich.console import Console

from repertory.actors.handshake import Refused
from repertory.actors.local_node import LocalNode, wait_until
from repertory.streams.devbroker.process import BrokerProcess

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "examples" / "wine" / "models" / "05-mlp.onnx"
FOUND = Path("fuzz-findings")
# A busy machine is slow; a door that hangs is slower.
LATE_SECONDS = 5.0
GROWTH_MIB = 100
LEFT_OPEN = 20
WARM_SECONDS = 20.0
# What a client asks beside: none of it may break by what others have sent.
PATHS = ("/status", "/cluster", "/metrics", "/models", "/state/wine", "/v2/models/stats")

console = Console(width=None if sys.stdout.isatty() else 160)
Target = Callable[[Mutator], bytes]


class Findings:
    """What was found, and how much was tried. Used by several threads."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, target: str, what: str, data: bytes = b"") -> None:
        """Note a finding, and keep the input of the first ones of a target."""
        with self._lock:
            self.found[target] += 1
            number = self.found[target]
        if number <= 20:
            FOUND.mkdir(exist_ok=True)
            (FOUND / f"{target}-{number}.bin".replace(" ", "-")).write_bytes(data)
            console.print(f"[red]{target}[/red]: {what}", highlight=False, markup=True)


def targets(node: LocalNode) -> Mapping[str, Target]:
    """Return what is thrown where."""
    config, paths = node.config, node.paths
    own = config.nodes["a"]
    wine = dict.fromkeys(config.data_types["wine"].features, 1.5)
    requests = Requests(wine)
    port, grpc_port = config.http.port, config.http.grpc_port
    assert grpc_port is not None
    calls = Grpc(grpc_port)

    def over_http(mutator: Mutator) -> bytes:
        data = requests.make(mutator)
        try:
            at_http(data, port)
        except Finding as error:
            raise Found(data) from error
        return data

    serving = paths.serving_door("wine", "")
    return {
        "router door": lambda mutator: at_unix_door(mutator, paths.router_door, wine),
        "serving door": lambda mutator: at_unix_door(mutator, serving, wine),
        "stranger": lambda mutator: at_tcp_door(mutator, (own.host, own.door_port), wine),
        "peer": lambda mutator: as_peer(mutator, config, wine),
        "http": over_http,
        "http too": over_http,
        "grpc": calls.call,
        "http2": calls.bytes_,
    }


class Found(Exception):
    """A finding, with its input; its cause says what."""

    def __init__(self, data: bytes) -> None:
        super().__init__("found")
        self.data = data


def throw(name: str, target: Target, mutator: Mutator, findings: Findings, end: float) -> None:
    """Throw wrong input at a target until the time is over."""
    while time.monotonic() < end:
        try:
            target(mutator)
        except Found as error:
            findings.add(name, str(error.__cause__), error.data)
        except Finding as error:
            findings.add(name, str(error))
        except (ConnectionError, BlockingIOError, Refused) as error:
            # A crowd at a door may be turned away; one that is gone for long is seen beside.
            findings.tried[f"{name}: {type(error).__name__}"] += 1
            time.sleep(0.01)
        except Exception as error:  # noqa: BLE001 - of the fuzz itself, as a rule; it goes on
            findings.add(name, repr(error))
        findings.tried[name] += 1


async def ask_beside(node: LocalNode, findings: Findings, end: float) -> list[float]:
    """Ask as one should; return how long answers took."""
    config = node.config
    assert config.http.grpc_port is not None
    features = config.data_types["wine"].features
    clients = (ScoreClient(config.http.port, features), GrpcClient(config.http.grpc_port))
    rows, taken = np.full((2, len(features)), 1.5), []
    while time.monotonic() < end:
        for client in clients:
            began = time.monotonic()
            try:
                answer = await client.ask(rows)
                if len(answer.said) != 2 or answer.version != 1:
                    findings.add("beside", f"a wrong answer: {answer}")
            except (Wrong, OSError, EOFError, grpc.aio.AioRpcError) as error:
                findings.add("beside", repr(error))
            taken.append(time.monotonic() - began)
            if taken[-1] > LATE_SECONDS:
                findings.add("beside", f"an answer took {taken[-1]:.1f} s")
            await asyncio.sleep(0.1)
        await asyncio.to_thread(look, config.http.port, findings)
    for client in clients:
        await client.close()
    return taken


def look(port: int, findings: Findings) -> None:
    """Ask what the node says of itself."""
    for path in PATHS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            told = reply.read()
            if reply.status != 200:
                findings.add("beside", f"{path}: {reply.status} {told[:300]!r}")
        except (OSError, http.client.HTTPException) as error:
            findings.add("beside", f"{path}: {error!r}")
        finally:
            connection.close()


def lasting(node: LocalNode) -> dict[str, Sample]:
    """Return the processes of the node but those of the green room, which come and go."""
    found = sample([node.pid, *node.processes()])
    return {
        name: each for name, each in found.items() if "green" not in name and "helper" not in name
    }


def watch(node: LocalNode, findings: Findings, end: float) -> None:
    """See that processes stay, and do not grow."""
    time.sleep(min(WARM_SECONDS, (end - time.monotonic()) / 4))
    first = lasting(node)
    while time.monotonic() < end:
        time.sleep(min(10.0, max(0.1, end - time.monotonic())))
        compare(first, lasting(node), findings, files=False)
    # What was thrown last is read, or given up.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _settled(first, lasting(node)):
        time.sleep(0.5)
    last = lasting(node)
    compare(first, last, findings, files=True)
    for name, each in last.items():
        if name in first:
            console.print(
                f"{name}: {first[name].pss / MEBIBYTE:.1f} → {each.pss / MEBIBYTE:.1f} MiB,"
                f" {first[name].files} → {each.files} files, {first[name].threads} →"
                f" {each.threads} threads",
                highlight=False,
            )


def _settled(first: dict[str, Sample], last: dict[str, Sample]) -> bool:
    return all(
        name in last and last[name].files <= each.files + LEFT_OPEN for name, each in first.items()
    )


def compare(
    first: dict[str, Sample], last: dict[str, Sample], findings: Findings, *, files: bool
) -> None:
    """Note processes that are gone, or have grown."""
    for name, each in first.items():
        if name not in last:
            findings.add("processes", f"{name} is gone; there are {sorted(last)}")
        elif last[name].anonymous > each.anonymous + GROWTH_MIB * MEBIBYTE:
            grown = (last[name].anonymous - each.anonymous) / MEBIBYTE
            findings.add("memory", f"{name} has grown by {grown:.0f} MiB")
        elif files and last[name].files > each.files + LEFT_OPEN:
            findings.add("files", f"{name} has {last[name].files} open, {each.files} before")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[LocalNode]:
    """Run node a of a cluster of two, of which b is played here; a model of wine serves."""
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"] | {"topics": []}
    own = {"host": "127.0.0.1", "door_port": _free_port(), "admin_port": _free_port()}
    other = own | {"host": "127.0.0.2", "weight": 0.0}
    document |= {
        "data_dir": str(folder / "data"),
        "nodes": {"a": own, "b": other},
        "journal": {"kind": "kafka"},
        "cluster": {"secret": "a secret of some length", "handover_ms": 0},
        "http": {
            "port": _free_port(),
            "grpc_port": _free_port(),
            "max_body_mb": 4,
            "deadline_ms": 5000,
        },
        "data_types": {"wine": wine, "cider": wine | {"required": False}},
    }
    with (
        BrokerProcess(data_dir=folder / "broker") as broker,
        LocalNode(_written(folder, document, broker), log=folder / "node.log") as node,
    ):
        node.wait_until(ready=False)
        _publish(node)
        node.wait_until()
        yield node
        _tell_errors(folder)


def _tell_errors(folder: Path) -> None:
    """Print what the node's processes have logged as errors: each was survived."""
    lines = [
        line
        for file in folder.rglob("*.log")
        for line in file.read_text(errors="replace").splitlines()
    ]
    noted = (line for line in lines if '"level": "error"' in line or "Traceback" in line)
    for event, count in Counter(map(_event, noted)).most_common(40):
        console.print(f"{count} × {event}", highlight=False, markup=False)


def _written(folder: Path, document: dict[str, Any], broker: BrokerProcess) -> Path:
    path = folder / "cluster.yaml"
    document["kafka"] = {"bootstrap_servers": broker.bootstrap_servers}
    path.write_text(yaml.safe_dump(document))
    return path


def _event(line: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        found: Any = json.loads(line)
        last = str(found.get("exception", found.get("why", ""))).strip().splitlines()[-1:]
        return f"{found.get('event')}: {''.join(last)[:120]}"
    return line[:160]


def _publish(node: LocalNode) -> None:
    data = base64.b64encode(MODEL.read_bytes()).decode()
    body = json.dumps({"dataType": "wine", "name": "mlp", "data": data})

    def published() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", node.config.http.port, timeout=60)
        connection.request("POST", "/models", body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status == 201

    wait_until(published, "a model is published")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--only", multiple=True, help="Of the targets.")
def main(minutes: float, seed: int, only: tuple[str, ...]) -> None:
    """Run, and print."""
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, running(Path(name)) as node:
        end = time.monotonic() + minutes * 60
        threads = [threading.Thread(target=watch, args=(node, findings, end))]
        for number, (each, target) in enumerate(targets(node).items()):
            if not only or each in only:
                mutator = Mutator(seed * 1000 + number)
                throwing = threading.Thread(
                    target=throw, args=(each, target, mutator, findings, end)
                )
                threads.append(throwing)
        for thread in threads:
            thread.start()
        taken = asyncio.run(ask_beside(node, findings, end))
        for thread in threads:
            thread.join()
    console.print(f"tried: {dict(findings.tried)}")
    console.print(
        f"{len(taken)} answers beside: p50 {np.median(taken) * 1000:.0f} ms,"
        f" p99 {np.percentile(taken, 99) * 1000:.0f} ms, max {max(taken) * 1000:.0f} ms"
    )
    console.print(f"found: {dict(findings.found) or 'nothing'}")
    sys.exit(1 if findings.found else 0)


if __name__ == "__main__":
    main()
