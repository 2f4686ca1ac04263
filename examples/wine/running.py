"""What `make run` and `make rendezvous` share: a node, a stream of wines, and a clean end."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from repertory.actors.local_node import LocalNode
from repertory.cli import EMBEDDED_BROKER
from repertory.config import load_config

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or a terminal that was closed."""


@contextmanager
def wines(config: Path, console: Console, *, rate: int) -> Iterator[LocalNode]:
    """Run the embedded broker and a node, with wines streaming through: `rate` a second.

    What stops this process raises Stopped in the body; at its end, nothing is left running.
    """
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _stop)
    _take_terminal()
    folder = load_config(config).data_dir
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "example.log"
    with LocalNode(config, "--broker", "embedded", log=log) as node:
        console.print(f"starting the embedded broker and a node (its log: {log})")
        node.wait_until(ready=False)
        with _replay(rate, brokers(node), log):
            yield node


def _take_terminal() -> None:
    """Have Ctrl-C reach this process alone: `make`, which waits for us, would call it an error."""
    if sys.stdin.isatty() and os.getpgrp() != os.getpid():
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        makes = os.tcgetpgrp(sys.stdin.fileno())
        os.setpgid(0, 0)
        os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
        atexit.register(os.tcsetpgrp, sys.stdin.fileno(), makes)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
    raise Stopped


def brokers(node: LocalNode) -> str:
    """Return where the node's Kafka is."""
    return node.config.kafka.bootstrap_servers or EMBEDDED_BROKER


@contextmanager
def _replay(rate: int, servers: str, log: Path) -> Iterator[None]:
    """Replay the wines over and over, in a process of its own."""
    file = HERE / "data" / "winequality-red.csv"
    command = [sys.executable, "-m", "repertory", "replay", str(file), "--topic", "mdata"]
    command += ["--kafka", servers, "--rate", str(rate), "--loop", "--ignore", "quality", "--quiet"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=5)
