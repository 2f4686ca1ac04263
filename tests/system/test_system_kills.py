"""kill -9 of any process of a node, at seeded random moments under load: every record is answered."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until

RATE = 2000  # records a second
BACK_SECONDS = 5.0


@pytest.fixture
def node(
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    wine_models: Path,
) -> LocalNode:
    node = local_node(config=write_config(http={"enabled": False}))
    publish(node, wine_models / "05-mlp.onnx")
    return node


def pid_of_serving_actor(node: LocalNode, ask: Callable[..., Any]) -> int:
    return int(ask(node, "status")["data_types"]["wine"]["pid"])


def pid_of_router(node: LocalNode, ask: Callable[..., Any]) -> int:
    return int(ask(node, "status")["pid"])


@pytest.mark.parametrize("victim", [pid_of_serving_actor, pid_of_router])
def test_every_record_is_answered_when_an_actor_is_killed(
    victim: Callable[..., int],
    node: LocalNode,
    streaming: Callable[..., Any],
    ask: Callable[..., Any],
    pytestconfig: pytest.Config,
) -> None:
    chance = random.Random(20090901)
    pids, slowest = set(), 0.0
    with streaming(node, RATE) as stream:
        for _ in range(int(pytestconfig.getoption("--kills"))):
            time.sleep(chance.uniform(0.3, 1.0))  # the moment is the input, drawn from the seed
            pid = victim(node, ask)
            pids.add(pid)
            os.kill(pid, signal.SIGKILL)
            slowest = max(slowest, seconds_until_served(stream))
    print(f"slowest return {slowest:.2f} s; sent again {stream.resent}")
    assert len(pids) == pytestconfig.getoption("--kills"), "a killed process was not replaced"
    assert slowest < BACK_SECONDS
    assert stream.failures == []
    assert stream.answered == stream.sent


def seconds_until_served(stream: Any) -> float:
    killed = time.monotonic()
    # Two more replies: one may have been on its way.
    before = sum(map(len, stream.replies))
    wait_until(lambda: sum(map(len, stream.replies)) > before + 8, "it serves again", 20)
    return time.monotonic() - killed


def test_a_new_router_adopts_the_serving_actor_of_the_dead_one(
    node: LocalNode, ask: Callable[..., Any]
) -> None:
    serving, router = pid_of_serving_actor(node, ask), pid_of_router(node, ask)
    os.kill(router, signal.SIGKILL)
    wait_until(lambda: pid_of_router(node, ask) != router, "a new router")
    wait_until(lambda: ask(node, "status")["ready"], "the wine is served")
    assert pid_of_serving_actor(node, ask) == serving


def test_a_router_without_its_admin_is_replaced_by_a_new_system(
    node: LocalNode, ask: Callable[..., Any]
) -> None:
    router = pid_of_router(node, ask)
    for pid in node.processes():
        if os.getpgid(pid) == os.getpgid(router):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid_of_router(node, ask) != router, "a new system", 40)
    wait_until(lambda: ask(node, "status")["ready"], "the wine is served")


def test_nothing_is_left_when_the_supervisor_is_killed(node: LocalNode) -> None:
    assert len(node.processes()) > 4
    node.kill()
    node.wait_gone(timeout=5)


def test_sigterm_ends_everything_within_five_seconds(node: LocalNode) -> None:
    began = time.monotonic()
    assert node.stop() == 0
    node.wait_gone(timeout=5 - (time.monotonic() - began))
    assert not node.paths.run.exists()


def test_a_restart_serves_the_same_version_from_the_snapshot(
    node: LocalNode, ask: Callable[..., Any]
) -> None:
    before = ask(node, "state", data_type="wine")
    node.stop()
    node.wait_gone()
    for path in (node.paths.journal, node.paths.catalog):
        path.unlink()  # so that it can only come from the snapshot
        assert not list(path.parent.glob(f"{path.name}-*")), "the database was not closed"
    node.start()
    wait_until(lambda: ask(node, "status")["ready"], "the wine is served")
    after = ask(node, "state", data_type="wine")
    assert (after["version"], after["sha256"]) == (before["version"], before["sha256"])


def test_a_corrupt_snapshot_is_set_aside_and_rebuilt_from_the_journal(
    node: LocalNode, ask: Callable[..., Any]
) -> None:
    before = ask(node, "state", data_type="wine")
    node.stop()
    node.wait_gone()
    for snapshot in (node.paths.snapshots / "wine").iterdir():
        data = bytearray(snapshot.read_bytes())
        data[len(data) // 2] ^= 0xFF
        snapshot.write_bytes(data)
    node.start()
    wait_until(lambda: ask(node, "status")["ready"], "the wine is served")
    assert ask(node, "state", data_type="wine")["version"] == before["version"]
    assert list((node.paths.snapshots / "wine").glob("*.corrupt-*"))
    assert ask(node, "status")["data_types"]["wine"]["snapshot_faults"]
