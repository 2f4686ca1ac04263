"""The servers that are compared: how each is started, and the ways in which it is asked."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.http_connection import NotAnswered
from benchmarks.http_forms import BENTO, OIP_BINARY, OIP_GRPC, OIP_JSON, SCORE, Form, record
from benchmarks.http_load import once
from benchmarks.http_repertory import free_ports, started
from benchmarks.stream_contender import ContenderFailed, Running, launched
from benchmarks.stream_environments import environment_python, pinned
from benchmarks.stream_job import VARIABLE, environment
from benchmarks.stream_processes import Processes, with_job
from benchmarks.stream_workloads import ROOT
from benchmarks.wine import WINE

REPERTORY = "repertory"

_START_SECONDS = 90.0
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Up:
    """A server that answers."""

    port: int
    grpc_port: int
    processes: Processes
    check: Callable[[], None]
    """Raises ContenderFailed when it has ended."""

    def port_of(self, form: Form) -> int:
        """Return where a form is spoken."""
        return self.grpc_port if form.grpc else self.port


Start = Callable[[Path], AbstractContextManager[Up]]
"""Starts a server that has a folder of its own. Raises ContenderFailed."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server, with one of its settings where it has several."""

    name: str
    title: str
    forms: tuple[Form, ...]
    start: Start
    versions: Callable[[], str]
    setting: str = ""
    """What it is told, of several things that it could be; empty when there is nothing to tell."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.name}, {self.setting}" if self.setting else self.name


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's server, run in an environment of its own."""

    name: str
    title: str
    packages: tuple[str, ...]
    command: Callable[[Path, int], Sequence[str]]
    """Of the environment's bin folder and the port."""
    forms: tuple[Form, ...]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"": {}})
    """What it can be told, by name: variables that come on top of these."""
    variables: Mapping[str, str] = field(default_factory=dict)

    def servers(self) -> list[Server]:
        """Return it with each of its settings."""
        return [
            Server(
                self.name,
                self.title,
                self.forms,
                partial(self._start, variables),
                partial(pinned, self.name, *self.packages, "onnxruntime"),
                setting,
            )
            for setting, variables in self.settings.items()
        ]

    @contextlib.contextmanager
    def _start(self, told: Mapping[str, str], folder: Path) -> Iterator[Up]:
        programs = environment_python(self.name).parent
        port, grpc_port, metrics = free_ports(3)
        ports = {"PORT": str(port), "GRPC": str(grpc_port), "METRICS": str(metrics)}
        texts = {**self.variables, **told}
        variables = {name: text.format(**ports) for name, text in texts.items()}
        variables |= {"PEER_PORT": str(port), "PEER_GRPC_PORT": str(grpc_port)}
        variables |= {"HOME": str(folder), "TMPDIR": str(folder)}
        variables |= {"PATH": f"{programs}:{os.environ['PATH']}"}
        mark, command = folder / "job.json", [*self.command(programs, port)]
        with environment(variables), launched(command, folder, mark) as processes:
            running = Running(folder, lambda: processes[0].poll() is None)
            up = Up(port, grpc_port, Processes(with_job(mark)), running.check)
            _wait_until_all_answer(up, self.forms, running)
            yield up


def _wait_until_all_answer(up: Up, forms: Sequence[Form], running: Running) -> None:
    deadline = time.monotonic() + _START_SECONDS
    for form in forms:
        while True:
            up.check()
            try:
                once(up.port_of(form), partial(form.connection, WINE))
                break
            except (OSError, NotAnswered) as error:
                if time.monotonic() > deadline:
                    raise running.failed(f"{form.title} was not answered: {error}") from error
                time.sleep(_LOOK_AGAIN_SECONDS)


def repertory(name: str = REPERTORY, tree: Path = ROOT) -> Server:
    """Return a checkout of Repertory as a server."""
    title = "**Repertory**" if name == REPERTORY else name
    forms = (SCORE, OIP_JSON, OIP_BINARY, OIP_GRPC)
    return Server(name, title, forms, partial(_start_repertory, tree), _own_versions)


@contextlib.contextmanager
def _start_repertory(tree: Path, folder: Path) -> Iterator[Up]:
    mark = folder / "job.json"
    with contextlib.ExitStack() as stack:
        try:
            with environment({VARIABLE: str(mark)}):
                node = stack.enter_context(started(tree, folder, grpc=True))
        except (RuntimeError, TimeoutError) as error:
            raise ContenderFailed(str(error)) from error
        running = Running(folder, lambda: bool(node.processes()))
        http = node.config.http
        assert http.grpc_port is not None
        yield Up(http.port, http.grpc_port, Processes(with_job(mark)), running.check)


def _own_versions() -> str:
    names = ("aiohttp", "grpcio", "onnxruntime")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _module(name: str) -> Callable[[Path, int], list[str]]:
    return lambda programs, _: [str(programs / "python"), "-m", f"benchmarks.peers.{name}_server"]


def _uvicorn(programs: Path, port: int) -> list[str]:
    app = "benchmarks.peers.fastapi_server:app"
    return [str(programs / "uvicorn"), app, "--port", str(port), "--no-access-log"]


def _bentoml(programs: Path, port: int) -> list[str]:
    service = "benchmarks.peers.bentoml_server:Wines"
    return [str(programs / "bentoml"), "serve", service, "--host", "127.0.0.1", "-p", str(port)]


_BATCHES_OR_NOT = {"not batching": {}, "batching": {"PEER_BATCHING": "1"}}
_MLSERVER_BATCHES = {
    "MLSERVER_MODEL_MAX_BATCH_SIZE": "64",
    "MLSERVER_MODEL_MAX_BATCH_TIME": "0.002",
}
_MLSERVER_NO_WORKERS = {"MLSERVER_PARALLEL_WORKERS": "0"}  # the model in the server's own process

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "fastapi",
            "FastAPI",
            ("fastapi", "uvicorn", "uvloop", "httptools"),
            _uvicorn,
            (record("/predict"),),
        ),
        Peer(
            "mlserver",
            "MLServer",
            ("mlserver", "fastapi", "uvicorn", "grpcio"),
            lambda programs, _: [str(programs / "mlserver"), "start", "."],
            (OIP_JSON, OIP_GRPC),
            variables={
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_HTTP_PORT": "{PORT}",
                "MLSERVER_GRPC_PORT": "{GRPC}",
                "MLSERVER_METRICS_PORT": "{METRICS}",
                "MLSERVER_DEBUG": "false",  # no log of each request
                "MLSERVER_MODEL_NAME": "wine",
                "MLSERVER_MODEL_IMPLEMENTATION": "benchmarks.peers.mlserver_server.WineRuntime",
            },
            settings={
                "not batching": {},
                "batching": _MLSERVER_BATCHES,
                "no workers, not batching": _MLSERVER_NO_WORKERS,
                "no workers, batching": {**_MLSERVER_NO_WORKERS, **_MLSERVER_BATCHES},
            },
        ),
        Peer(
            "litserve",
            "LitServe",
            ("litserve", "fastapi", "uvicorn", "uvloop"),
            _module("litserve"),
            (record("/predict"),),
            _BATCHES_OR_NOT,
        ),
        Peer(
            "bentoml",
            "BentoML",
            ("bentoml", "starlette", "uvicorn"),
            _bentoml,
            (BENTO,),
            _BATCHES_OR_NOT,
            variables={"BENTOML_DO_NOT_TRACK": "True"},
        ),
        Peer(
            "kserve",
            "KServe",
            ("kserve", "fastapi", "uvicorn", "grpcio"),
            _module("kserve"),
            (OIP_JSON, OIP_GRPC),
        ),
        Peer(
            "rayserve",
            "Ray Serve",
            ("ray", "starlette", "uvicorn"),
            _module("rayserve"),
            (record("/"),),
            _BATCHES_OR_NOT,
            variables={
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # as its pages on performance say
            },
        ),
    )
}
"""All peers, by name, in the order of their turns."""


def remove(folder: Path) -> None:
    """Remove what a server had on disk."""
    shutil.rmtree(folder, ignore_errors=True)
