"""How a process of a node begins that is no actor: the keeper and the faces."""

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from repertory.actors.lifeline import hold_lifeline
from repertory.actors.logs import set_up_logging
from repertory.actors.progress import Progress
from repertory.config import ClusterConfig, NodePaths, load_config


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """What a process of a node is told by its supervisor."""

    config: ClusterConfig
    node: str
    paths: NodePaths
    progress: Progress = field(default_factory=Progress)
    worker: int | None = None
    """Its number from 1 on, where several processes do the same."""


def run_process(name: str, body: Callable[[NodeProcess, asyncio.Event], Awaitable[None]]) -> None:
    """Read the arguments, hold the lifeline, and run `body` until SIGTERM sets its event.

    SIGINT is ignored: Ctrl-C reaches the supervisor, which ends its processes in order.
    """
    parser = argparse.ArgumentParser(prog=f"python -m repertory: {name}")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--progress", type=int, metavar="DESCRIPTOR")
    parser.add_argument("--worker", type=int, metavar="NUMBER")
    parser.add_argument("--http-port", type=int)
    parser.add_argument("--grpc-port", type=int)
    arguments = parser.parse_args()
    hold_lifeline()
    config = _with_ports(load_config(arguments.config).of_node(arguments.node), arguments)
    set_up_logging(config.log_level)
    worker = arguments.worker
    called = name if worker is None else f"{name}-{worker}"
    structlog.contextvars.bind_contextvars(process=called, node=arguments.node)
    paths, progress = NodePaths(config, arguments.node), Progress(arguments.progress)
    process = NodeProcess(config, arguments.node, paths, progress, worker)
    asyncio.run(_until_stopped(process, body))


def _with_ports(config: ClusterConfig, arguments: argparse.Namespace) -> ClusterConfig:
    """Return the configuration with the ports that were chosen for this process, if any."""
    ports = {"port": arguments.http_port, "grpc_port": arguments.grpc_port}
    given = {key: port for key, port in ports.items() if port is not None}
    return config.model_copy(update={"http": config.http.model_copy(update=given)})


async def _until_stopped(
    process: NodeProcess, body: Callable[[NodeProcess, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    await body(process, stop)
