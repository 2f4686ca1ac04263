"""No process outlives its supervisor, however that one dies."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from repertory.actors.lifeline import OWNER_VARIABLE, VARIABLE, Lifeline, hold_lifeline
from repertory.actors.local_node import LocalNode

Waiter = Callable[..., None]

WITHIN = 2.0  # seconds

# Holds the lifeline, says so by a file, and would then run for ever.
HOLDER = """
import signal, sys
from pathlib import Path
from repertory.actors.lifeline import hold_lifeline
hold_lifeline()
hold_lifeline()
Path(sys.argv[1]).touch()
signal.pause()
"""

# Owns a lifeline and starts a holder, detached as Thespian's processes are.
SUPERVISOR = f"""
import signal, subprocess, sys
from pathlib import Path
from repertory.actors.lifeline import Lifeline
folder = Path(sys.argv[1])
lifeline = Lifeline(folder / "lifeline.sock")
command = [sys.executable, "-c", {HOLDER!r}, str(folder / "holds")]
holder = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
(folder / "pid.new").write_text(str(holder.pid))
(folder / "pid.new").rename(folder / "pid")
signal.pause()
"""


def start(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # dead, not yet reaped
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def lifeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lifeline]:
    """Give a lifeline of this process."""
    for variable in (VARIABLE, OWNER_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    made = Lifeline(tmp_path / "lifeline.sock")
    yield made
    made.close()


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_detached_process_ends_with_its_supervisor(
    tmp_path: Path, wait_for: Waiter, by: signal.Signals
) -> None:
    supervisor = start(SUPERVISOR, str(tmp_path))
    try:
        wait_for((tmp_path / "holds").exists)
        holder = int((tmp_path / "pid").read_text())
        assert not gone(holder)
    finally:
        supervisor.send_signal(by)
        supervisor.wait(10)
    wait_for(lambda: gone(holder), WITHIN)


def test_a_process_runs_while_its_supervisor_lives_and_ends_when_that_lets_go(
    lifeline: Lifeline, tmp_path: Path, wait_for: Waiter
) -> None:
    holders = [start(HOLDER, str(tmp_path / name)) for name in ("one", "two")]
    wait_for(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
    assert [holder.poll() for holder in holders] == [None, None]
    lifeline.close()
    assert [holder.wait(WITHIN) for holder in holders] == [-signal.SIGKILL] * 2


def test_a_process_that_comes_up_after_its_supervisor_died_ends_at_once(
    lifeline: Lifeline, tmp_path: Path
) -> None:
    path, owner = os.environ[VARIABLE], os.environ[OWNER_VARIABLE]
    lifeline.close()
    os.environ.update({VARIABLE: path, OWNER_VARIABLE: owner})
    holder = start(HOLDER, str(tmp_path / "holds"))
    assert holder.wait(20) == 0
    assert not (tmp_path / "holds").exists()


def test_the_supervisor_itself_and_a_process_without_one_hold_nothing(lifeline: Lifeline) -> None:
    hold_lifeline()  # it would end this process
    lifeline.close()
    hold_lifeline()
    assert VARIABLE not in os.environ


def test_a_lifeline_takes_the_place_of_one_that_a_killed_supervisor_left(tmp_path: Path) -> None:
    (tmp_path / "lifeline.sock").touch()
    Lifeline(tmp_path / "lifeline.sock").close()
    assert not (tmp_path / "lifeline.sock").exists()


# --- a whole node


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """Give a node with every kind of process, on free ports."""
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH", "alcohol"]}
    document = {
        "data_dir": str(tmp_path / "data"),
        "http": {"port": free_port()},
        "kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"},
        "data_types": {"wine": {**wine, "topics": ["mdata"]}},
    }
    config = tmp_path / "cluster.yaml"
    config.write_text(json.dumps(document))
    with LocalNode(config, "--broker", "embedded", log=tmp_path / "node.log") as made:
        yield made
        made.kill()


# What the commands of a node's processes hold, and how many there are of each.
KINDS = {
    "multiprocessing.spawn": 4,  # Thespian's admin and logger, the router, the serving actor
    "repertory.actors.keeper": 1,
    "repertory.http.face": 1,
    "repertory.streams.face": 1,
    "repertory.streams.devbroker": 1,
    "repertory.models.confinement": 1,  # the green room
}


def tree(node: LocalNode) -> dict[int, str]:
    """Return the processes of a node but its supervisor, with their commands."""
    found: dict[int, str] = {}
    for root in [node.pid, *node.processes()]:
        try:
            process = psutil.Process(root)
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = " ".join(each.cmdline())
        except psutil.NoSuchProcess:
            continue
    found.pop(node.pid, None)
    return found


def test_when_the_supervisor_is_killed_its_whole_tree_ends(
    node: LocalNode, wait_for: Waiter
) -> None:
    def complete() -> bool:
        commands = tree(node).values()
        return all(sum(kind in each for each in commands) >= n for kind, n in KINDS.items())

    wait_for(complete, 60)
    processes = tree(node)
    node.kill()
    try:
        wait_for(lambda: all(map(gone, processes)), WITHIN)
    finally:
        left = {pid: command for pid, command in processes.items() if not gone(pid)}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left
