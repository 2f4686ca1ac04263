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


def run_process(name: str, body: Callable[[NodeProcess, asyncio.Event], Awaitable[None]]) -> None:
    """Read the arguments, hold the lifeline, and run `body` until SIGTERM sets its event.

    SIGINT is ignored: Ctrl-C reaches the supervisor, which ends its processes in order.
    """
    parser = argparse.ArgumentParser(prog=f"python -m repertory: {name}")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--progress", type=int, metavar="DESCRIPTOR")
    arguments = parser.parse_args()
    hold_lifeline()
    config = load_config(arguments.config).of_node(arguments.node)
    set_up_logging(config.log_level)
    structlog.contextvars.bind_contextvars(process=name, node=arguments.node)
    paths, progress = NodePaths(config, arguments.node), Progress(arguments.progress)
    process = NodeProcess(config, arguments.node, paths, progress)
    asyncio.run(_until_stopped(process, body))


async def _until_stopped(
    process: NodeProcess, body: Callable[[NodeProcess, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    await body(process, stop)
