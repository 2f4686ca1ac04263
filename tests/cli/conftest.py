"""The real `repertory` command, in processes of its own, from a folder that is not the checkout."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(sys.executable).parent / "repertory"
SECONDS = 60

# Folders of data scientists hold such files; none of them may be imported by a node.
STRAY_MODULES = ("queue.py", "statistics.py", "models.py", "http.py")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


class CommandNode(LocalNode):
    """`repertory up` as its console script, started in a given folder."""

    def __init__(self, config: Path, *arguments: str, folder: Path) -> None:
        super().__init__(config, log=folder / "up.log")
        up = [str(COMMAND), "up", "--config", str(config), *arguments]
        self._command = ["env", "-C", str(folder), *up]

    def end_by(self, number: signal.Signals, timeout: float = 5.0) -> int:
        """Send a signal and return the exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout)


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("REPERTORY_")}
    return {**kept, "COLUMNS": "80", **changes}


@pytest.fixture(scope="session")
def repertory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Run the command in a fresh folder; what it prints goes to files, not to a terminal."""

    def run(*arguments: object, stdin: str = "", cwd: Path | None = None, **environ: str) -> Ended:
        folder = tmp_path_factory.mktemp("command")
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            done = subprocess.run(
                [str(COMMAND), *map(str, arguments)],
                input=stdin.encode(),
                stdout=out,
                stderr=err,
                cwd=cwd or folder,
                env=environment(environ),
                timeout=SECONDS,
                check=False,
            )
        printed = [(folder / name).read_text() for name in ("out", "err")]
        assert "Traceback" not in printed[1], printed[1]
        return Ended(done.returncode, *printed)

    return run


@pytest.fixture(scope="module")
def make_config(
    tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[], int]
) -> Callable[..., Path]:
    """Write the example's cluster.yaml into a fresh folder, with a free port."""

    def make(**sections: object) -> Path:
        folder = tmp_path_factory.mktemp("cluster")
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        document |= {"data_dir": str(folder / "data"), "http": {"port": free_ports()}}
        document |= sections
        path = folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(document))
        for name in STRAY_MODULES:
            (folder / name).write_text("raise SystemExit('a stray module was imported')\n")
        return path

    return make


@pytest.fixture(scope="session")
def free_ports() -> Callable[[], int]:
    """Return ports that nobody listens on."""

    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return free_port


@pytest.fixture(scope="session")
def command() -> Path:
    """The console script."""
    return COMMAND


@pytest.fixture(scope="session")
def command_node() -> Callable[..., CommandNode]:
    """Make a node of a cluster.yaml, to be run from the folder that this is in."""
    return lambda config, *arguments: CommandNode(config, *arguments, folder=config.parent)


@pytest.fixture
def up(
    make_config: Callable[..., Path], command_node: Callable[..., CommandNode]
) -> Iterator[Callable[..., CommandNode]]:
    """Start `repertory up`; at the end each node is stopped, and must leave no process behind."""
    nodes: list[CommandNode] = []

    def start(*arguments: str, config: Path | None = None) -> CommandNode:
        path = config or make_config()
        node = command_node(path, *arguments)
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()
        node.wait_gone()
