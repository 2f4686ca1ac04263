"""A face asks the serving actor itself where the router lets it, and the router whenever that fails."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from tests.actors.scripted_door import Handler, Router, score

from repertory.actors import face_client
from repertory.actors.batch import RecordBatch, Value
from repertory.actors.face_client import FaceClient
from repertory.actors.frames import Frame
from repertory.config import ClusterConfig, DataType, NodePaths
from repertory.errors import DeadlineExceeded, FailureCode, NoModel
from repertory.protos.door_pb2 import Envelope, Failure

Waiter = Callable[..., None]
Doors = Callable[..., Router]


@pytest.fixture
def paths(tmp_path: Path) -> NodePaths:
    types = {"wine": DataType(message="m:Wine", features=("a",))}
    paths = NodePaths(ClusterConfig(data_types=types, data_dir=tmp_path), "a")
    paths.create()
    return paths


@pytest.fixture
def doors() -> Iterator[Doors]:
    made: list[Router] = []

    def make(door: Path, handler: Handler, credit: int = 64) -> Router:
        made.append(Router(door, handler, credit))
        return made[-1]

    yield make
    for each in made:
        each.die()


def tells_of(*data_types: str) -> Handler:
    """Return a router that tells of short ways when it is asked to, and scores."""

    def handler(router: Router, peer: int, frame: Frame) -> None:
        if frame.envelope.kind == Envelope.ASK:
            tell = Envelope(kind=Envelope.TELL, subject="short ways")
            router.hub.send(peer, tell, orjson.dumps(data_types))
            router.reply(peer, frame, Envelope.ANSWER, b"{}")
        score(router, peer, frame)

    return handler


def scoring_at(position: int) -> Handler:
    def handler(router: Router, peer: int, frame: Frame) -> None:
        score(router, peer, frame, position=position)

    return handler


def silent(router: Router, peer: int, frame: Frame) -> None:
    """Answer nothing."""


@asynccontextmanager
async def client_of(paths: NodePaths) -> AsyncIterator[FaceClient]:
    """Return a client that has heard of short ways, and has come to the actors' doors."""
    async with FaceClient(paths, role="http") as client:
        await client.ask("ways")
        for line in client.lines():
            await line.connected.wait()
        yield client


async def wine(client: FaceClient, *, timeout: float = 10.0) -> list[object]:
    scored = await client.score(RecordBatch("wine", [b"1", b"2"]), timeout=timeout)
    return list(scored.outcomes)


def batches(door: Router) -> int:
    return sum(frame.envelope.kind == Envelope.SCORE for _, frame in door.seen)


async def test_batches_go_to_the_actor_and_not_by_the_router(
    paths: NodePaths, doors: Doors
) -> None:
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), score)
    async with client_of(paths) as client:
        assert await wine(client) == [Value(1.0), Value(2.0)]
    assert (batches(router), batches(actor)) == (0, 1)


async def test_they_go_by_the_router_as_soon_as_it_says_so(paths: NodePaths, doors: Doors) -> None:
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), score)
    async with client_of(paths) as client:
        router.handler = tells_of()
        await client.ask("ways")
        assert await wine(client) == [Value(1.0), Value(2.0)]
    assert (batches(router), batches(actor)) == (1, 0)


async def test_what_an_actor_had_in_hand_when_it_died_goes_by_the_router(
    paths: NodePaths, doors: Doors, wait_for: Waiter
) -> None:
    def die(router: Router, peer: int, frame: Frame) -> None:
        router.hub.disconnect(peer)

    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), die)
    async with client_of(paths) as client:
        assert await wine(client) == [Value(1.0), Value(2.0)]
    assert (batches(router), batches(actor)) == (1, 1)


async def test_an_actor_that_hangs_is_asked_by_way_of_the_router_from_then_on(
    paths: NodePaths, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_client, "PATIENCE_SECONDS", 0.02)
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), silent)
    async with client_of(paths) as client:
        with pytest.raises(DeadlineExceeded):
            await wine(client, timeout=0.05)
        assert await wine(client) == [Value(1.0), Value(2.0)]
    assert (batches(router), batches(actor)) == (1, 1)


async def test_what_is_late_already_goes_nowhere_else(paths: NodePaths, doors: Doors) -> None:
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), silent)
    async with client_of(paths) as client:
        with pytest.raises(DeadlineExceeded):
            await wine(client, timeout=0.05)
        await client.ask("ways")  # whatever was sent before has come
    assert (batches(router), batches(actor)) == (0, 1)


async def test_what_an_older_model_answered_than_before_goes_by_the_router(
    paths: NodePaths, doors: Doors
) -> None:
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), scoring_at(7))
    async with client_of(paths) as client:
        await wine(client)
        actor.handler = scoring_at(6)
        await wine(client)
        assert (batches(router), batches(actor)) == (1, 2)
    floors = [orjson.loads(f.payload) for _, f in router.seen if f.envelope.subject == "floor"]
    assert floors == [{"positions": {"wine": 7}}]


async def test_what_the_actor_refuses_is_refused(paths: NodePaths, doors: Doors) -> None:
    def refuse(router: Router, peer: int, frame: Frame) -> None:
        failure = Failure(code=FailureCode.NO_MODEL, message="there is none")
        router.reply(peer, frame, Envelope.FAILURE, failure.SerializeToString())

    router = doors(paths.router_door, tells_of("wine"))
    doors(paths.serving_door("wine"), refuse)
    async with client_of(paths) as client:
        with pytest.raises(NoModel, match="there is none"):
            await wine(client)
    assert batches(router) == 0


async def test_without_a_router_nothing_goes_the_short_way_until_another_one_says_so(
    paths: NodePaths, doors: Doors
) -> None:
    router = doors(paths.router_door, tells_of("wine"))
    actor = doors(paths.serving_door("wine"), score)
    async with client_of(paths) as client:
        client.lost.clear()
        router.die()
        await client.lost.wait()
        successor = doors(paths.router_door, tells_of())
        assert await wine(client) == [Value(1.0), Value(2.0)]
    assert (batches(successor), batches(actor)) == (1, 0)
