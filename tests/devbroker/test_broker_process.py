"""The broker as a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from tests.devbroker.conftest import PATIENCE, Kafka, name, texts, until

from repertory.streams.devbroker.process import BrokerNotReady, BrokerProcess


def test_it_keeps_port_and_data_over_a_restart(tmp_path: Path) -> None:
    with BrokerProcess(data_dir=tmp_path) as broker:
        address = broker.bootstrap_servers
        clients = Kafka(address)
        topic = clients.topic()
        clients.send(topic, "a")
        broker.restart()
        assert broker.bootstrap_servers == address
        assert texts(clients.read(topic)) == ["a"]
        clients.close()


def test_it_prints_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "repertory.streams.devbroker"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        Kafka(line.removeprefix("listening on ").strip()).topic()
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        rest, errors = process.communicate(timeout=PATIENCE)
    assert line.startswith("listening on 127.0.0.1:")
    assert (rest, errors, process.returncode) == ("", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_temporary_data_outlives_a_kill_but_not_a_stop() -> None:
    with BrokerProcess() as broker:
        folder = broker._folder()
        clients = Kafka(broker.bootstrap_servers)
        topic = clients.topic()
        clients.send(topic, "a")
        broker.kill()
        broker.start()
        assert texts(clients.read(topic)) == ["a"]
        clients.close()
    assert not folder.exists()


def test_it_says_why_it_cannot_start(capfd: pytest.CaptureFixture[str]) -> None:
    with BrokerProcess() as broker, pytest.raises(BrokerNotReady):
        BrokerProcess(port=broker.port).start()
    assert "choose another port" in capfd.readouterr().err


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    script = """
        import os, signal
        from repertory.streams.devbroker.process import BrokerProcess
        broker = BrokerProcess().start()
        print(broker.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=PATIENCE,
    ).stdout
    until(lambda: not psutil.pid_exists(int(output)))


def test_a_pause_freezes_it_until_it_is_resumed() -> None:
    with BrokerProcess() as broker:
        clients = Kafka(broker.bootstrap_servers)
        topic, producer = clients.topic(), clients.producer()
        broker.pause()
        producer.produce(topic, b"x")
        assert producer.flush(0.3) == 1
        broker.resume()
        assert producer.flush(PATIENCE) == 0


def test_a_topic_comes_into_being_by_its_first_record() -> None:
    with BrokerProcess() as broker:
        clients = Kafka(broker.bootstrap_servers)
        clients.send(topic := name("new"), "a")
        assert texts(clients.read(topic)) == ["a"]
        clients.close()
