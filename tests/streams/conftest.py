"""What the tests of the Kafka face share: a broker, a node that serves, faces, and topics to look at."""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import yaml
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tests.apache_kafka.fixtures import Broker

from repertory.actors.client import RouterClient
from repertory.actors.lifeline import die_with_parent
from repertory.actors.local_node import LocalNode, wait_until
from repertory.config import ClusterConfig, NodePaths, load_config
from repertory.protos.results_pb2 import ScoredRecord
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.dead_letters import DeadLetter, read_letter

ROOT = Path(__file__).parent.parent.parent
FOREST = ROOT / "examples" / "wine" / "models" / "02-random-forest.onnx"
PARTITIONS = 4


@dataclass
class Face:
    """The Kafka face in a process of its own."""

    config_path: Path
    node: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Face":
        """Start it, and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "repertory.streams.face"),
                    *("--config", str(self.config_path), "--node", self.node),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )
        return self

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def revive(self) -> None:
        """Start it again if it ended by itself, as the supervisor of a node does."""
        if self.process is not None and self.process.poll() == 1:
            self.start()

    def stop(self) -> int:
        """End it in order and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def says(self, text: str) -> int:
        """Return how often a text is in its log."""
        return self.log.read_text().count(text)


@dataclass
class World:
    """A broker, a node, and topics of this test's own; two data types, `wine` and `late`."""

    broker: Broker
    node: LocalNode
    prefix: str
    folder: Path
    delivery: str = "at-least-once"
    nodes: tuple[str, ...] = ("a",)
    faces: list[Face] = field(default_factory=list)
    _watcher: Consumer | None = None

    @property
    def config(self) -> ClusterConfig:
        """The configuration of the faces."""
        return load_config(self.config_path)

    @property
    def config_path(self) -> Path:
        """Its file; faces of several nodes meet at the door of the one node."""
        path = self.folder / "faces.yaml"
        if not path.exists():
            document = yaml.safe_load(self.node.config_path.read_text())
            document["nodes"] = {
                name: {"door_port": number, "admin_port": 100 + number}
                for number, name in enumerate(self.nodes, start=1)
            }
            if len(self.nodes) > 1:
                document["cluster"] = {"secret": "of-tests-and-of-no-use"}
                document["journal"] = {"kind": "kafka"}
            document["kafka"] = {
                "bootstrap_servers": self.broker.bootstrap_servers,
                "group_id": self.prefix,
                "models_topic": f"{self.prefix}-models",
                "results_topic": f"{self.prefix}-results",
                "dead_letters_topic": f"{self.prefix}-dead",
                "delivery": self.delivery,
            }
            for name, data_type in document["data_types"].items():
                data_type["topics"] = [f"{self.prefix}-{name}"]
            if len(self.nodes) > 1:  # so that each of them has wines
                document["data_types"]["late"]["topics"] = []
            path.write_text(yaml.safe_dump(document))
        return path

    def topic(self, name: str) -> str:
        """Return this test's topic of a name: a data type, `results`, `dead` or `models`."""
        return f"{self.prefix}-{name}"

    def start_face(self, node: str = "a") -> Face:
        """Start a face."""
        # All faces meet at the door of the one node.
        path = self.config_path if node in self.nodes else self._alone(node)
        paths = NodePaths(load_config(path), node)
        if not paths.router_door.exists():
            paths.create()
            paths.router_door.unlink(missing_ok=True)
            paths.router_door.symlink_to(self.node.paths.router_door)
        face = Face(path, node, self.folder / f"face-{node}.log").start()
        self.faces.append(face)
        return face

    def _alone(self, node: str) -> Path:
        """Return the configuration of a node that knows of no other, and of the same topics."""
        path = self.folder / f"face-{node}.yaml"
        document = yaml.safe_load(self.config_path.read_text())
        path.write_text(yaml.safe_dump(document | {"nodes": {node: {}}}))
        return path

    def create_topics(self, *names: str, **config: str) -> None:
        """Create topics of four partitions; without names, those of the records."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap_servers})
        new = [
            NewTopic(self.topic(name), PARTITIONS, config=config)
            for name in names or self.config.data_types
        ]
        for future in admin.create_topics(new).values():
            future.result()

    def change_topic(self, name: str, key: str, value: str) -> None:
        """Change the configuration of a topic."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap_servers})
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.topic(name), incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()

    def producer(self) -> Producer:
        """Return a producer."""
        return Producer({"bootstrap.servers": self.broker.bootstrap_servers, "linger.ms": 1})

    def produce(
        self, name: str, values: Sequence[bytes | None], *, partition: int | None = None
    ) -> None:
        """Write records, number by number to the partitions in turn, their number as their key."""
        producer = self.producer()
        for number, value in enumerate(values):
            place = number % PARTITIONS if partition is None else partition
            producer.produce(self.topic(name), value, str(number), partition=place)
        assert producer.flush(20) == 0

    def consumed(self, name: str = "wine") -> bool:
        """Whether the group has committed all of a topic."""
        if self._watcher is None:
            self._watcher = self._consumer(self.prefix)  # which asks, but does not join
        watcher = self._watcher
        places = self._places(watcher, self.topic(name))
        committed = answer(lambda: watcher.committed(places, timeout=10))
        ends = [end(watcher, place) for place in places]
        return [max(0, place.offset) for place in committed] == ends

    def count(self, name: str) -> int:
        """Return how many messages a topic has; 0 when there is no such topic."""
        if self._watcher is None:
            self._watcher = self._consumer(self.prefix)
        if self.topic(name) not in self._watcher.list_topics(timeout=10).topics:
            return 0
        places = self._places(self._watcher, self.topic(name))
        return sum(end(self._watcher, place) for place in places)

    def wait_count(self, name: str, count: int, timeout: float = 30) -> None:
        """Wait until a topic has at least so many messages."""
        wait_until(lambda: self.count(name) >= count, f"{count} messages in {name}", timeout)

    def close(self) -> None:
        """End the faces."""
        for face in self.faces:
            face.kill()
        if self._watcher is not None:
            self._watcher.close()
        for name in {face.node for face in self.faces} - {"a"}:
            shutil.rmtree(NodePaths(self.config, name).run, ignore_errors=True)

    def wait_consumed(self, name: str = "wine", timeout: float = 30) -> None:
        """Wait until the group has committed all of a topic."""
        wait_until(lambda: self.consumed(name), f"all of {name} is committed", timeout)

    def read(self, name: str) -> list[Message]:
        """Return all messages of a topic that are committed, partition by partition."""
        consumer = self._consumer(f"{self.prefix}-reader", **{"enable.partition.eof": True})
        messages: list[Message] = []
        try:
            places = self._places(consumer, self.topic(name))
            ends = self._ends(places)
            consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in places])
            unread, deadline = set(ends), time.monotonic() + 30
            while unread:
                assert time.monotonic() < deadline, f"{name} cannot be read"
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    messages.append(message)
                elif message is not None and at_end(message):
                    partition = message.partition() or 0
                    # Below the end lies what the brokers have yet to mark as committed.
                    if (message.offset() or 0) >= ends[partition]:
                        unread.discard(partition)
        finally:
            consumer.close()
        return sorted(messages, key=lambda m: (m.partition() or 0, m.offset() or 0))

    def results(self) -> list[ScoredRecord]:
        """Return all results, partition by partition."""
        return [ScoredRecord.FromString(value_of(m)) for m in self.read("results")]

    def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, partition by partition."""
        return [read_letter(message) for message in self.read("dead")]

    def ask(self, subject: str, **data: Any) -> dict[str, Any]:
        """Ask the node's router."""
        return ask_router(self.node, subject, **data)

    def _ends(self, places: Sequence[TopicPartition]) -> dict[int, int]:
        """Return the offset after the last message of each partition, committed or not."""
        consumer = self._consumer(f"{self.prefix}-ends", **{"isolation.level": "read_uncommitted"})
        try:
            return {place.partition: end(consumer, place) for place in places}
        finally:
            consumer.close()

    def _consumer(self, group: str, **more: Any) -> Consumer:
        brokers = self.broker.bootstrap_servers
        return Consumer({"bootstrap.servers": brokers, "group.id": group, **more})

    def _places(self, consumer: Consumer, topic: str) -> list[TopicPartition]:
        found = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return [TopicPartition(topic, number) for number in found]


T = TypeVar("T")
_TOO_EARLY = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


def answer(ask: Callable[[], T], seconds: float = 20) -> T:
    """Return what brokers answer; Apache Kafka tells of a topic a moment before it serves it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _TOO_EARLY or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def end(consumer: Consumer, place: TopicPartition) -> int:
    """Return the offset after the last of a partition."""
    return answer(lambda: consumer.get_watermark_offsets(place, timeout=10))[1]


def at_end(message: Message) -> bool:
    """Whether a message says that a partition's end is reached."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def value_of(message: Message) -> bytes:
    """Return the bytes of a message that has some."""
    return cast(bytes, message.value())


def publish(node: LocalNode, data_type: str, file: Path) -> dict[str, Any]:
    """Publish a model and wait until it serves."""
    copy = node.paths.spool / f"{data_type}-{time.monotonic_ns()}"
    copy.write_bytes(file.read_bytes())
    return ask_router(
        node,
        "publish",
        data_type=data_type,
        name=file.name.partition(".")[0],
        content_file=str(copy),
        wait=True,
    )


def ask_router(node: LocalNode, subject: str, **data: Any) -> dict[str, Any]:
    """Ask a node's router."""

    async def body() -> dict[str, Any]:
        async with RouterClient(node.paths.router_door, role="test") as client:
            return await client.ask(subject, timeout=60, **data)

    return asyncio.run(body())


@pytest.fixture(scope="session")
def serving_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node without faces; the random forest serves `wine`, and nothing serves `late`."""
    folder = tmp_path_factory.mktemp("node")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    types = document["data_types"]
    types["wine"] |= {"topics": [], "max_batch": 64}
    types["late"] = {**types["wine"], "required": False}
    document |= {"data_dir": str(folder / "data"), "http": {"enabled": False}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(document))
    node = LocalNode(folder / "cluster.yaml", log=folder / "node.log")
    node.start()
    try:
        wait_until(node.paths.router_door.exists, "the router's door is open", 60)
        assert publish(node, "wine", FOREST)["state"] == "SERVING"
        yield node
    finally:
        node.stop()
        node.wait_gone()


@pytest.fixture
def world(kafka_broker: Broker, serving_node: LocalNode, tmp_path: Path) -> Iterator[World]:
    """Topics and faces of the test's own; the faces end with it."""
    made = World(kafka_broker, serving_node, f"t{uuid.uuid4().hex[:10]}", tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["at-least-once", "exactly-once"])
def world_of_both(request: pytest.FixtureRequest, world: World) -> World:
    """The same, with each guarantee in turn."""
    world.delivery = request.param
    return world


@pytest.fixture(name="publish")
def publish_fixture(serving_node: LocalNode) -> Iterator[Callable[[str, Path], dict[str, Any]]]:
    """Publish a model for a data type, and wait until it serves; only that of `wine` stays."""
    published: set[str] = set()

    def publish_one(data_type: str, file: Path) -> dict[str, Any]:
        published.add(data_type)
        return publish(serving_node, data_type, file)

    yield publish_one
    for data_type in published - {"wine"}:
        ask_router(serving_node, "retire", data_type=data_type, origin=f"test/{uuid.uuid4()}")


@pytest.fixture
def make_wine() -> Callable[[int], bytes]:
    """Make a plausible wine whose sugar is its number."""
    return lambda number: WineRecord(
        fixed_acidity=7.4, residual_sugar=number, density=0.997, pH=3.5, alcohol=9.4
    ).SerializeToString()
