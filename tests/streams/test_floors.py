"""A partition that moves to another node is not scored by older models there."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tests.streams.routers import ScriptedRouter

from repertory.actors.local_node import wait_until
from repertory.config import NodePaths
from repertory.streams.notes import Note, read_note

World = Any  # tests/streams/conftest.py has it


@pytest.fixture
def router(world_of_both: World) -> Iterator[ScriptedRouter]:
    """The router of the node `x`, which is one of two."""
    world_of_both.nodes = ("x", "y")
    world_of_both.create_topics("wine")
    paths = NodePaths(world_of_both.config, "x")
    paths.create()
    with ScriptedRouter(paths.router_door, 20) as router:
        yield router


@pytest.fixture
def offsets(world_of_both: World) -> Iterator[Consumer]:
    """A consumer that only asks what the group of the faces has committed."""
    settings = {"bootstrap.servers": world_of_both.broker.bootstrap_servers}
    consumer = Consumer(settings | {"group.id": world_of_both.prefix})
    yield consumer
    consumer.close()


def notes(world: World, offsets: Consumer) -> list[Note]:
    """Return what is noted beside the offsets."""
    places = [TopicPartition(world.topic("wine"), partition) for partition in range(4)]
    return [read_note(each.metadata) for each in offsets.committed(places, timeout=10)]


def test_the_position_of_the_newest_model_is_committed_with_each_offset(
    world_of_both: World,
    router: ScriptedRouter,
    offsets: Consumer,
    make_wine: Callable[[int], bytes],
) -> None:
    world_of_both.start_face("x")
    for position in (20, 21):
        router.position = position
        world_of_both.produce("wine", [make_wine(number) for number in range(8)])
        world_of_both.wait_consumed()
        assert notes(world_of_both, offsets) == [Note("x", {"wine": position})] * 4


def test_a_router_is_told_what_was_noted_before_it_is_asked_for_a_score(
    world_of_both: World,
    router: ScriptedRouter,
    offsets: Consumer,
    make_wine: Callable[[int], bytes],
) -> None:
    texts = ['{"node": "y", "floors": {"wine": 30, "late": 7}}', "foreign", "", "[1]"]
    topic = world_of_both.topic("wine")
    places = [TopicPartition(topic, n, 0, metadata=text) for n, text in enumerate(texts)]
    offsets.commit(offsets=places, asynchronous=False)
    world_of_both.produce("wine", [make_wine(number) for number in range(8)])
    world_of_both.start_face("x")
    wait_until(lambda: "batch" in router.seen, "it is asked for a score")
    assert router.seen[0] == {"wine": 30, "late": 7}
    world_of_both.wait_consumed()
    assert notes(world_of_both, offsets)[0] == Note("x", {"wine": 30, "late": 7})


@pytest.mark.parametrize("world_of_both", ["exactly-once"], indirect=True)
def test_a_transaction_that_a_node_left_open_when_it_vanished_holds_up_nobody_for_long(
    world_of_both: World,
    router: ScriptedRouter,
    offsets: Consumer,
    make_wine: Callable[[int], bytes],
) -> None:
    topic = world_of_both.topic("wine")
    note = TopicPartition(topic, 0, 0, metadata='{"node": "y", "floors": {}}')
    offsets.commit(offsets=[note], asynchronous=False)
    vanished = begin(world_of_both, f"{world_of_both.prefix}-y-streams-1")
    place = offsets.consumer_group_metadata()
    vanished.send_offsets_to_transaction([TopicPartition(topic, 0, 2)], place, 10)
    world_of_both.produce("wine", [make_wine(number) for number in range(8)])
    began = time.monotonic()
    world_of_both.start_face("x")
    world_of_both.wait_consumed()
    print(f"the open transaction was in the way for {time.monotonic() - began:.1f} s")
    assert world_of_both.count("results") >= 8
    with pytest.raises(KafkaException) as caught:
        vanished.commit_transaction(10)
    assert caught.value.args[0].code() == KafkaError._FENCED


def begin(world: World, transactional_id: str) -> Producer:
    """Return a producer that has begun a transaction, which does not time out before the test."""
    producer = Producer(
        {
            "bootstrap.servers": world.broker.bootstrap_servers,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 120_000,
        }
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    return producer
