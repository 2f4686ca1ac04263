"""Several processes of the HTTP face: one port, one set of figures, and no request lost."""

import asyncio
import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import orjson
import psutil
import pytest
import yaml
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode, wait_until
from repertory.actors.reservation import Reservation
from repertory.client import Client
from repertory.finding import port_fault

ROOT = Path(__file__).parents[2]
WORKERS = 2
CLIENTS = 4  # of each kind
BACKOFF_SECONDS = 0.02  # before a client tries again


def write_config(folder: Path) -> Path:
    """Write the configuration of a node with several HTTP processes, on any free ports."""
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"] | {"topics": []}
    document |= {
        "data_dir": str(folder / "data"),
        "http": {"workers": WORKERS, "port": 0, "grpc_port": 0},
        "data_types": {"wine": wine},
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def ask(node: LocalNode, subject: str) -> dict[str, Any]:
    """Ask the router, which needs no port."""
    async with RouterClient(node.paths.router_door, role="test") as router:
        async with asyncio.timeout(60):
            await router.connected.wait()
        return await router.ask(subject, timeout=5)


def http_faces(node: LocalNode) -> dict[str, dict[str, Any]]:
    """Return what the HTTP processes that listen told of themselves, by `http:NUMBER`."""
    faces = asyncio.run(ask(node, "status"))["faces"]
    return {name: each for name, each in faces.items() if name.startswith("http:")}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Iterator[LocalNode]:
    """A node of two HTTP processes that serves; the tests of this module share it."""
    folder = tmp_path_factory.mktemp("workers")
    with LocalNode(write_config(folder), log=folder / "node.log") as node:
        wait_until(lambda: len(http_faces(node)) == WORKERS, "each process listens")
        node.url = http_faces(node)["http:1"]["url"]
        with Client(node.url) as client:
            client.publish("wine", model(), name="alcohol")
        yield node
    node.wait_gone()


def port_of(node: LocalNode) -> int:
    return int(node.url.rpartition(":")[2])


def wait_for_all(node: LocalNode, *, but: int = 0) -> list[int]:
    """Wait until all processes listen, and none is `but`, which has died; return their ids."""

    def listening() -> list[int]:
        found = [each["pid"] for _, each in sorted(http_faces(node).items())]
        return found if len(found) == WORKERS and but not in found else []

    wait_until(listening, "each process listens")
    return listening()


def requests_counted(node: LocalNode, route: str) -> float:
    """Return how many requests of a route the node says that it answered."""
    found = [
        sample.value
        for family in text_string_to_metric_families(scrape(node))
        for sample in family.samples
        if sample.name == "repertory_http_requests_total" and sample.labels["route"] == route
    ]
    return sum(found)


def scrape(node: LocalNode) -> str:
    return call(port_of(node), "GET", "/metrics").decode()


def call(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    """Return the body of a reply, by a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"Connection": "close"})
        reply = connection.getresponse()
        assert reply.status == 200
        return reply.read()
    finally:
        connection.close()


class Load:
    """Clients that score without a pause: half by one connection each, half by ever new ones.

    `found` counts what became of their requests, `slowest` is what one of them took, in seconds.
    Those that are `refused` end. Each record is another one, so that no reply is somebody else's.
    With two `tries`, `lost` counts what became of the first ones that failed.
    """

    def __init__(self, node: LocalNode, *, tries: int = 1) -> None:
        self.found: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.slowest = 0.0
        self._port = port_of(node)
        self._features = node.config.data_types["wine"].features
        self._tries = tries
        self._stops = threading.Event()
        kinds = [True, False] * CLIENTS
        self._threads = [
            threading.Thread(target=self._score_on, args=(number * 10_000, keeps))
            for number, keeps in enumerate(kinds)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for(200)
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        self.join()

    def join(self) -> None:
        """Wait until all clients have ended."""
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were scored."""
        before = self.found["scored"]
        wait_until(lambda: self.found["scored"] >= before + more, f"{more} more are scored")

    def _score_on(self, number: int, keeps: bool) -> None:
        connection = self._connection()
        while not self._stops.is_set():
            number += 1
            began = time.monotonic()
            what = self._score(connection, number, keeps)
            if what != "scored" and self._tries > 1:
                self.lost[what] += 1
                self._stops.wait(BACKOFF_SECONDS)
                what = self._score(connection, number, keeps)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.found[what] += 1
            if what == "refused":
                break
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)

    def _score(self, connection: http.client.HTTPConnection, number: int, keeps: bool) -> str:
        record = dict.fromkeys(self._features, 1.0) | {"alcohol": float(number)}
        headers = {} if keeps else {"Connection": "close"}
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return "refused"
        try:
            connection.request("POST", "/score/wine", orjson.dumps(record), headers)
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return repr(error)
        right = reply.status == 200 and orjson.loads(body)["results"] == [{"value": float(number)}]
        return "scored" if right else f"{reply.status} {body!r}"


def ports(pid: int, status: str) -> list[int]:
    """Return the local ports of a process's sockets of this status, one for each."""
    return [
        each.laddr.port for each in psutil.Process(pid).net_connections() if each.status == status
    ]


def test_any_free_port_is_the_same_for_all(node: LocalNode) -> None:
    pids = wait_for_all(node)
    assert {each["url"] for each in http_faces(node).values()} == {node.url}
    assert port_of(node) > 0
    first, second = ({*ports(pid, psutil.CONN_LISTEN)} for pid in pids)
    assert first == second
    assert len(first) == 2  # that of gRPC is the other one


def test_each_process_takes_its_share_of_the_connections(node: LocalNode) -> None:
    pids, held = wait_for_all(node), []
    for _ in range(40):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(node), timeout=10)
        connection.request("GET", "/health/live")
        assert connection.getresponse().read()
        held.append(connection)
    shares = [ports(pid, psutil.CONN_ESTABLISHED).count(port_of(node)) for pid in pids]
    assert min(shares) > 0
    assert sum(shares) >= len(held)
    for connection in held:
        connection.close()


def test_all_answer_over_grpc(node: LocalNode) -> None:
    (port,) = {*ports(wait_for_all(node)[0], psutil.CONN_LISTEN)} - {port_of(node)}
    for _ in range(10):
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            health: Any = HealthStub(channel)
            reply = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_whichever_process_is_scraped_tells_of_all(node: LocalNode) -> None:
    wait_for_all(node)
    before = requests_counted(node, "/processors")
    for _ in range(30):
        call(port_of(node), "GET", "/processors")
    counts = {requests_counted(node, "/processors") for _ in range(10)}
    assert counts == {before + 30}
    for number in range(1, WORKERS + 1):
        assert f'process_cpu_seconds_total{{worker="{number}"}}' in scrape(node)


def test_what_a_process_counted_outlives_it(node: LocalNode) -> None:
    for _ in range(30):
        call(port_of(node), "GET", "/processors")
    before = requests_counted(node, "/processors")
    pid = wait_for_all(node)[0]
    os.kill(pid, signal.SIGKILL)
    wait_for_all(node, but=pid)
    assert {requests_counted(node, "/processors") for _ in range(10)} == {before}
    assert "repertory_http_requests_in_progress 1.0" in scrape(node)


async def test_the_node_is_ready_when_each_process_listens(node: LocalNode) -> None:
    pid = (await asyncio.to_thread(wait_for_all, node))[1]
    async with asyncio.timeout(60), RouterClient(node.paths.router_door, role="test") as router:
        await router.connected.wait()
        assert (await router.ask("health", timeout=5))["ready"]
        os.kill(pid, signal.SIGKILL)
        while (health := await router.ask("health", timeout=5))["ready"]:
            await asyncio.sleep(0)
        missing = "1 of 2 processes of the HTTP face have not reported yet"
        assert health["troubles"] == {"http": [missing]}
        while not (await router.ask("health", timeout=5))["ready"]:
            await asyncio.sleep(0.02)


def test_of_a_process_that_dies_only_requests_in_flight_are_lost(node: LocalNode) -> None:
    pid = wait_for_all(node)[0]
    with Load(node, tries=2) as load:
        os.kill(pid, signal.SIGKILL)
        wait_for_all(node, but=pid)
        load.wait_for(200)
    assert set(load.found) == {"scored"}  # who tries again notices nothing
    assert load.lost.total() <= 2 * CLIENTS


def test_a_process_that_is_told_to_end_loses_nothing(node: LocalNode) -> None:
    pid = wait_for_all(node)[0]
    with Load(node) as load:
        os.kill(pid, signal.SIGTERM)
        wait_for_all(node, but=pid)
        load.wait_for(200)
    assert set(load.found) == {"scored"}


def test_nobody_else_gets_the_port(node: LocalNode, start_face: Any) -> None:
    port = port_of(node)
    assert port_fault("127.0.0.1", port) == "Address already in use"
    with pytest.raises(OSError, match="in use"):
        Reservation("127.0.0.1", port)
    face = start_face(port=port)
    assert face.process.wait(20) == 1
    assert "cannot listen" in face.log.read_text()


# --- the reservation


def test_of_two_that_reserve_a_port_at_the_same_time_one_gets_it() -> None:
    with (
        Reservation("127.0.0.1", 0) as mine,
        pytest.raises(OSError, match="in use"),
    ):
        Reservation("127.0.0.1", mine.port)


def test_a_reserved_port_is_not_free_for_those_who_do_not_share_it() -> None:
    with Reservation("127.0.0.1", 0) as mine:
        assert port_fault("127.0.0.1", mine.port) == "Address already in use"
    assert port_fault("127.0.0.1", mine.port) is None


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::1"])
def test_all_addresses_of_a_host_are_reserved(host: str) -> None:
    with Reservation(host, 0) as mine:
        assert port_fault(host, mine.port) == "Address already in use"


# --- the last one, for it ends the node


def test_a_node_that_ends_loses_no_request(node: LocalNode) -> None:
    wait_for_all(node)
    with Load(node) as load:
        assert node.stop() == 0
        load.join()
    assert set(load.found) == {"scored", "refused"}
    assert load.found["refused"] == 2 * CLIENTS
