"""Journals of every kind, a broker, and children that are killed."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.apache_kafka.fixtures import KINDS, Broker

from repertory.journal.journal import Entry, Journal
from repertory.journal.kafka import KafkaJournal
from repertory.journal.memory import MemoryJournal
from repertory.journal.snapshot import Snapshot
from repertory.journal.sqlite import SqliteJournal

CHILDREN = Path(__file__).parent / "children"


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"models-{uuid.uuid4().hex[:12]}"


@contextmanager
def kafka_journals(broker: Broker, topic: str) -> Iterator[Callable[[], Journal]]:
    """Open the journal of a topic, once more with each call; close all at the end."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            closing(KafkaJournal(broker.bootstrap_servers, topic, patience=10))
        )


@pytest.fixture
def open_kafka(kafka_broker: Broker, topic: str) -> Iterator[Callable[[], Journal]]:
    """Open the Kafka journal of this test, once more with each call."""
    with kafka_journals(kafka_broker, topic) as open_journal:
        yield open_journal


@pytest.fixture
def open_embedded(embedded_broker: Broker, topic: str) -> Iterator[Callable[[], Journal]]:
    """Open the Kafka journal of this test at the embedded broker."""
    with kafka_journals(embedded_broker, topic) as open_journal:
        yield open_journal


@pytest.fixture
def open_apache(apache_broker: Broker, topic: str) -> Iterator[Callable[[], Journal]]:
    """Open the Kafka journal of this test at Apache Kafka."""
    with kafka_journals(apache_broker, topic) as open_journal:
        yield open_journal


@pytest.fixture
def open_sqlite(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    """Open the SQLite journal of this test, once more with each call."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(SqliteJournal(tmp_path / "journal.sqlite")))


@pytest.fixture
def open_memory() -> Callable[[], Journal]:
    """Return the one journal of this test."""
    journal = MemoryJournal()
    return lambda: journal


@pytest.fixture(params=["memory", "sqlite", *KINDS])
def open_journal(request: pytest.FixtureRequest) -> Callable[[], Journal]:
    """Open the journal of this test, of each kind, once more with each call."""
    opener: Callable[[], Journal] = request.getfixturevalue(f"open_{request.param}")
    return opener


@pytest.fixture
def read_all() -> Callable[[Journal], list[Entry]]:
    """Read a journal from its beginning to its end."""

    def read(journal: Journal) -> list[Entry]:
        entries: list[Entry] = []
        while more := journal.read(entries[-1].position if entries else 0):
            entries += more
        return entries

    return read


@pytest.fixture
def snapshot() -> Snapshot:
    """A snapshot like those that serving actors write."""
    return Snapshot(
        data_type="wine",
        name="forest",
        description="of 10 trees",
        model_type="ONNX",
        version=7,
        sha256="ab" * 32,
        position=9,
        since_ms=1_700_000_000_000,
        files={"model.onnx": bytes(range(256)), "signature.json": b"{}", "empty": b""},
        counters={"usage": 3, "min": float("inf"), "by_code": {"internal": 1}},
    )


@pytest.fixture
def run_child() -> Callable[..., str]:
    """Run a program of the folder `children` to its end, and return what it printed."""

    def run(name: str, *arguments: object) -> str:
        command = [sys.executable, str(CHILDREN / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(
            command, check=True, timeout=60, stdout=subprocess.PIPE, text=True
        ).stdout

    return run


@pytest.fixture
def kill_child() -> Callable[..., int]:
    """Run a program of `children`, kill -9 it after some lines; return the last number printed."""

    def kill(name: str, *arguments: object, after_lines: int) -> int:
        command = [sys.executable, str(CHILDREN / f"{name}.py"), *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(after_lines):
                line = child.stdout.readline()
            child.kill()
            # What it printed between this moment and its end was acknowledged too.
            lines = [line, *child.stdout.readlines()]
        whole = [line for line in lines if line.endswith("\n")]
        return int(whole[-1])

    return kill
