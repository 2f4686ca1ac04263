"""Whom a router lets the faces ask without it, by a clock that stands until it is moved."""

from typing import Any

import orjson
import pytest

from repertory.actors.frames import Frame
from repertory.actors.instructions import Send
from repertory.actors.messages import SetPolicy, Shard
from repertory.actors.router_core import RouterCore
from repertory.config import ClusterConfig, DataType
from repertory.protos.door_pb2 import Envelope, Hello

TYPES = {
    "wine": DataType(message="m:Wine", features=("a",)),
    "beer": DataType(message="m:Beer", features=("a",), required=False),
}
FACE, STREAMS, ACTOR, POLICY = 1, 2, 3, 4  # peers


class World:
    """A router's core with an HTTP face, a Kafka face, and the actor of wine."""

    def __init__(self, **cluster: Any) -> None:
        config = ClusterConfig.model_validate({"data_types": TYPES, **cluster})
        self.core = RouterCore(config, "a", "first", clock=lambda: 100.0)
        self.greet(FACE, "http")
        self.greet(STREAMS, "streams")
        self.core.shard_up(Shard("wine"), ACTOR)
        self.ways()

    def greet(self, peer: int, role: str) -> None:
        self.core.connected(peer)
        hello = Hello(role=role, name=role).SerializeToString()
        self.core.arrived(peer, Frame(Envelope(kind=Envelope.HELLO), hello))

    def tell(self, peer: int, subject: str, **data: Any) -> None:
        tell = Envelope(kind=Envelope.TELL, subject=subject)
        self.core.arrived(peer, Frame(tell, orjson.dumps(data)))

    def serves(self, position: int) -> None:
        self.tell(ACTOR, "status", model={"version": position}, position=position)

    def ways(self) -> list[tuple[int, list[str]]]:
        """Take who was told of which data types."""
        sends = [item for item in self.core.outbox if isinstance(item, Send)]
        self.core.outbox = []
        return [
            (send.peer, orjson.loads(send.payload))
            for send in sends
            if send.envelope.subject == "short ways"
        ]


@pytest.fixture
def world() -> World:
    return World()


def test_there_is_a_short_way_to_an_actor_that_serves_and_only_http_faces_hear_of_it(
    world: World,
) -> None:
    world.serves(1)
    assert world.ways() == [(FACE, ["wine"])]
    world.serves(2)
    assert world.ways() == []


def test_a_face_that_comes_later_is_told_when_it_is_greeted(world: World) -> None:
    world.serves(1)
    world.ways()
    world.greet(9, "http")
    assert world.ways() == [(9, ["wine"])]


def test_there_is_none_any_more_once_the_actor_is_gone(world: World) -> None:
    world.serves(1)
    world.ways()
    world.core.closed(ACTOR)
    assert world.ways() == [(FACE, [])]


def test_there_is_none_to_an_actor_that_came_back_with_an_older_model(world: World) -> None:
    world.tell(FACE, "floor", positions={"wine": 5})
    world.serves(4)
    assert world.ways() == []
    world.serves(5)
    assert world.ways() == [(FACE, ["wine"])]


def test_there_is_none_where_a_policy_decides(world: World) -> None:
    world.serves(1)
    world.ways()
    world.core.restore(SetPolicy("wine", 2, '{"policy": "latest"}', 0))
    world.core.tick()
    assert world.ways() == [(FACE, [])]


def test_there_is_none_where_another_node_may_have_served_a_newer_model() -> None:
    world = World(
        nodes={"a": {}, "b": {"host": "127.0.0.2"}},
        journal={"kind": "kafka"},
        kafka={"bootstrap_servers": "k:1"},
        cluster={"secret": "s" * 16},
    )
    world.serves(1)
    world.core.tick()
    assert world.ways() == []
