"""Apache Kafka as a child process, and where it comes from."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.apache_kafka import jars
from tests.apache_kafka.server import ApacheKafka

from repertory.actors.local_node import wait_until
from repertory.streams.devbroker.process import BrokerNotReady

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.usefixtures("apache_kafka_installed")


@pytest.fixture
def broker() -> Iterator[ApacheKafka]:
    """An Apache Kafka of the test's own."""
    with ApacheKafka(heap_mb=256) as broker:
        yield broker


def send(broker: ApacheKafka, text: str) -> None:
    """Write a record to the topic `kept`."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce("kept", text)
    assert producer.flush(20) == 0


def read(broker: ApacheKafka, count: int) -> list[bytes | None]:
    """Read the first records of the topic."""
    settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": "any"}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition("kept", 0, 0)])
    values = [message.value() for message in consumer.consume(count, timeout=20)]
    consumer.close()
    return values


def test_it_keeps_port_and_data_over_restart_and_kill(broker: ApacheKafka) -> None:
    address = broker.bootstrap_servers
    send(broker, "a")
    broker.restart()
    send(broker, "b")
    broker.kill()
    broker.start()
    assert broker.bootstrap_servers == address
    assert read(broker, 2) == [b"a", b"b"]


def test_while_it_is_paused_it_hangs(broker: ApacheKafka) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    admin.list_topics(timeout=20)
    broker.pause()
    assert broker.pid is not None
    wait_until(lambda: psutil.Process(broker.pid).status() == "stopped", "it hangs", 10)
    broker.resume()
    assert len(admin.list_topics(timeout=20).brokers) == 1


def test_it_listens_on_the_loopback_only_and_leaves_nothing_behind(broker: ApacheKafka) -> None:
    process, folder = psutil.Process(broker.pid), broker.data_dir
    listening = [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(listening) == 2  # broker and controller
    assert {address.rpartition(":")[2] for address in listening} == {"127.0.0.1"}
    broker.stop()
    assert not process.is_running()
    assert not folder.exists()


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ApacheKafka(data_dir=tmp_path, port=taken.getsockname()[1])
        with pytest.raises(BrokerNotReady, match=r"(?s)code 1; its log ends:.*already in use"):
            server.start()
    assert server.pid is None


def test_settings_that_are_wrong_are_told(tmp_path: Path) -> None:
    server = ApacheKafka(data_dir=tmp_path, settings={"socket.request.max.bytes": "0"})
    with pytest.raises(BrokerNotReady, match=r"Invalid value 0 .* socket\.request\.max\.bytes"):
        server.start()


def test_it_ends_with_the_program_that_started_it() -> None:
    program = (
        "from tests.apache_kafka.server import ApacheKafka\n"
        "print(ApacheKafka().start().pid, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
    wait_until(lambda: ended(pid), "the server has ended", 10)


def ended(pid: int) -> bool:
    """Whether a process runs no more, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no java in .*, where JAVA_HOME points; install openjdk-17"),
        (
            lambda folder: script(folder / "java", 'version "11.0.2"'),
            "needs Java 17 or newer; .*11",
        ),
    ],
)
def test_a_java_that_will_not_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], message: str
) -> None:
    (tmp_path / "bin").mkdir()
    make(tmp_path / "bin")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(jars.ApacheKafkaMissing, match=message):
        jars.java()


def script(path: Path, says: str) -> None:
    """Write a program that says something to its error output."""
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)


def test_without_maven_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(jars.ApacheKafkaMissing, match=r"no mvn on the PATH .*install maven"):
        jars.fetch_jars()


def test_a_fetch_that_fails_shows_what_maven_said_and_leaves_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "mvn", "no route to the repository")
    monkeypatch.setattr(jars, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(jars.ApacheKafkaMissing, match=r"no route to the repository"):
        jars.fetch_jars()
    assert [path.name for path in jars.CACHE.iterdir()] == ["lock"]


def test_the_version_is_that_of_the_pom() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", jars.version())
