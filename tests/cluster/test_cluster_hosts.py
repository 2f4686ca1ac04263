"""The hosts of the cluster tests do what they say: without that, no fault would be one."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from tests.cluster import namespaces
from tests.cluster.conftest import do_without
from tests.cluster.hosts import Hosts
from tests.cluster.namespaces import HostsUnavailable

from repertory.actors.local_node import wait_until

PORT = 5599


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hosts") / "echo.log"


def start_echo(hosts: Hosts, log: Path) -> None:
    for name in hosts.names:
        address = hosts[name].address
        command = [sys.executable, "-m", "tests.cluster.udp_echo", address, str(PORT)]
        hosts[name].run(command, output=log)
    for name in hosts.names:
        wait_until(lambda name=name: answers(hosts, name), f"{name} answers")  # type: ignore[misc]


@pytest.fixture(scope="module")
def hosts(log: Path) -> Iterator[Hosts]:
    with Hosts("ab") as hosts:
        if hosts.why_no_network:
            do_without(hosts.why_no_network)
        start_echo(hosts, log)
        yield hosts


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def any_hosts(request: pytest.FixtureRequest, log: Path) -> Iterator[Hosts]:
    if request.param == "namespaces":
        yield request.getfixturevalue("hosts")
        return
    with Hosts("ab", loopback=True) as hosts:
        start_echo(hosts, log)
        yield hosts


def echoed(hosts: Hosts, name: str, count: int, seconds: float = 0.5) -> list[float]:
    """Return after how many seconds each of so many packets came back, if it did."""
    back: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door, suppress(TimeoutError):
        door.bind((hosts.address, 0))
        door.settimeout(seconds)
        began = time.monotonic()
        for _ in range(count):
            door.sendto(b"are you there?", (hosts[name].address, PORT))
        while len(back) < count:
            door.recv(100)
            back.append(time.monotonic() - began)
    return back


def answers(hosts: Hosts, name: str) -> bool:
    try:
        return len(echoed(hosts, name, 1, 0.3)) == 1
    except ConnectionError:
        return False


def test_a_frozen_host_says_nothing_until_it_thaws(any_hosts: Hosts) -> None:
    any_hosts["a"].freeze()
    assert not answers(any_hosts, "a")
    assert answers(any_hosts, "b")
    any_hosts["a"].thaw()
    wait_until(lambda: answers(any_hosts, "a"), "it answers again")


def test_a_host_that_is_cut_off_is_silent_until_it_heals(hosts: Hosts) -> None:
    hosts["a"].cut()
    assert not answers(hosts, "a")
    assert answers(hosts, "b")
    hosts["a"].heal()
    wait_until(lambda: answers(hosts, "a"), "it answers again")


def test_a_host_loses_packets_both_ways(hosts: Hosts) -> None:
    hosts["a"].lose(50)
    back = len(echoed(hosts, "a", 200))
    hosts["a"].heal()
    assert 20 < back < 80  # 50 are expected
    assert len(echoed(hosts, "a", 200)) == 200


def test_a_host_delays_packets_or_says_that_the_kernel_cannot(hosts: Hosts) -> None:
    refused, slowest = "", 0.0
    try:
        hosts["a"].delay(100)
        slowest = max(echoed(hosts, "a", 1))
    except HostsUnavailable as error:
        refused = str(error)
    finally:
        hosts["a"].heal()
    assert "this kernel cannot delay packets" in refused or slowest >= 0.1


def test_loopback_says_that_it_cannot_be_cut() -> None:
    with Hosts("a", loopback=True) as hosts, pytest.raises(HostsUnavailable, match="loopback"):
        hosts["a"].cut()


def test_a_killed_host_has_no_process_left(any_hosts: Hosts, log: Path) -> None:
    any_hosts["b"].freeze()
    any_hosts["b"].kill()
    assert any_hosts["b"].pids() == []
    assert any_hosts["a"].pids() != []
    start_echo(any_hosts, log)


def _make_and_wait(log: str, made: Event) -> None:
    hosts = Hosts("xy").__enter__()
    hosts["x"].run(["sleep", "1000"], output=Path(log))
    # One that does not die with its parent.
    hosts["y"].run(["setsid", "--fork", "sleep", "1000"], output=Path(log))
    wait_until(hosts["y"].pids, "it sleeps")
    made.set()
    time.sleep(1000)


@pytest.mark.usefixtures("hosts")
def test_what_a_killed_run_left_is_removed_by_the_next(log: Path) -> None:
    context = multiprocessing.get_context("spawn")
    made = context.Event()
    run = context.Process(target=_make_and_wait, args=(str(log), made))
    run.start()
    assert made.wait(20)
    before = namespaces.run("ip", "netns")
    assert run.pid is not None
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    with Hosts("a"):
        pass
    assert len(namespaces.run("ip", "netns").splitlines()) == len(before.splitlines()) - 2
