"""Consumer groups, whose members come, go, and die."""

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.devbroker.conftest import PATIENCE, Kafka, name, until

PARTITIONS = 6
ALL = list(range(PARTITIONS))


class Member:
    """A consumer in a process of its own."""

    def __init__(self, bootstrap_servers: str, topic: str, config: dict[str, Any]) -> None:
        script = str(Path(__file__).with_name("member.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, bootstrap_servers, topic, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.assigned: list[int] = []
        self.events: list[tuple[str, Any]] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event, value = json.loads(line)
            if event == "assigned":
                self.assigned = value
            self.events.append((event, value))

    def of(self, kind: str) -> list[Any]:
        """Return the values of all events of a kind."""
        return [value for event, value in self.events if event == kind]

    def close(self) -> None:
        """Have it leave the group, and wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def clean_up(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


Start = Callable[..., Member]


@pytest.fixture
def start(kafka: Kafka) -> Iterator[Start]:
    """Return a function that starts a member of the test's group."""
    members: list[Member] = []
    common = {
        "group.id": name("group"),
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
        "auto.commit.interval.ms": 100,
        "fetch.wait.max.ms": 100,
    }

    def start(topic: str, **config: Any) -> Member:
        own = {key.replace("_", "."): value for key, value in config.items()}
        members.append(Member(kafka.bootstrap_servers, topic, {**common, **own}))
        return members[-1]

    yield start
    for member in members:
        member.clean_up()


def shared(*members: Member) -> bool:
    """Whether the members have all partitions among them, each some."""
    parts = [member.assigned for member in members]
    return all(parts) and sorted(itertools.chain.from_iterable(parts)) == ALL


def fill(kafka: Kafka, topic: str, letter: str) -> set[str]:
    """Write a record to each partition; return the values."""
    sent = {f"{letter}{index}" for index in ALL}
    for index in ALL:
        kafka.send(topic, f"{letter}{index}", partition=index)
    return sent


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_take_over_from_the_dead_and_resume(
    kafka: Kafka, start: Start, strategy: str
) -> None:
    topic = kafka.topic(PARTITIONS)
    config = {"partition_assignment_strategy": strategy}
    first = start(topic, **config)
    until(lambda: first.assigned == ALL)
    second = start(topic, **config)
    until(lambda: shared(first, second))
    sent = fill(kafka, topic, "a")
    until(lambda: {*first.of("message"), *second.of("message")} == sent)
    second.kill()
    until(lambda: first.assigned == ALL)
    sent = fill(kafka, topic, "b")
    until(lambda: sent <= set(first.of("message")))
    first.close()
    sent = fill(kafka, topic, "c")
    third = start(topic, **config)
    until(lambda: sent <= set(third.of("message")))
    assert set(third.of("message")) == sent, "it should resume where the first one ended"
    assert not (first.of("error") + second.of("error") + third.of("error"))


def test_cooperative_members_keep_what_they_need_not_give_up(kafka: Kafka, start: Start) -> None:
    topic = kafka.topic(PARTITIONS)
    config = {"partition_assignment_strategy": "cooperative-sticky"}
    first = start(topic, **config)
    until(lambda: first.assigned == ALL)
    second = start(topic, **config)
    until(lambda: shared(first, second))
    assert first.of("revoked") == [second.assigned]


def test_a_static_member_that_is_killed_and_comes_back_disturbs_nobody(
    kafka: Kafka, start: Start
) -> None:
    topic = kafka.topic(PARTITIONS)
    first = start(topic, group_instance_id="A")
    second = start(topic, group_instance_id="B")
    until(lambda: shared(first, second))
    revoked, share = len(first.of("revoked")), second.assigned
    second.kill()
    back = start(topic, group_instance_id="B")
    until(lambda: back.assigned == share)
    sent = fill(kafka, topic, "a")
    until(lambda: {*first.of("message"), *back.of("message")} == sent)
    assert len(first.of("revoked")) == revoked


def test_many_members_find_their_balance(kafka: Kafka) -> None:
    topic, group = kafka.topic(12), name("group")
    consumers = [kafka.consumer(group_id=group) for _ in range(12)]
    for consumer in consumers:
        consumer.subscribe([topic])

    def balanced() -> bool:
        for consumer in consumers:
            consumer.poll(0.01)
        return [len(consumer.assignment()) for consumer in consumers] == [1] * 12

    until(balanced, 40)
