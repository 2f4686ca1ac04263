"""A client keeps its requests apart, comes back to a new router, and never waits for ever."""

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from tests.actors.scripted_door import Handler, Router, score

from repertory.actors.batch import RecordBatch, Value
from repertory.actors.client import RouterClient
from repertory.actors.frames import Frame
from repertory.errors import (
    DeadlineExceeded,
    FailureCode,
    InternalError,
    NotFound,
    Overloaded,
    RepertoryError,
    Unavailable,
    UnknownDataType,
)
from repertory.protos.door_pb2 import Envelope, Failure, ScoredBatch

Routers = Callable[..., Router]


@pytest.fixture
def door(tmp_path: Path) -> Path:
    return tmp_path / "door"


@pytest.fixture
def routers(door: Path) -> Iterator[Routers]:
    """Return what brings up a router at the door."""
    made: list[Router] = []

    def make(handler: Handler, credit: int = 64) -> Router:
        made.append(Router(door, handler, credit))
        return made[-1]

    yield make
    for router in made:
        router.die()


def numbered(number: int) -> RecordBatch:
    return RecordBatch("wine", [b"%d" % number, b"%d" % (number * 2)])


def silent(router: Router, peer: int, frame: Frame) -> None:
    """Answer nothing."""


def fail_with(code: str) -> Handler:
    def handler(router: Router, peer: int, frame: Frame) -> None:
        failure = Failure(code=code, message="because")
        router.reply(peer, frame, Envelope.FAILURE, failure.SerializeToString())

    return handler


class Shuffles:
    """Holds frames until there are `count`, then answers them in another order."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[tuple[int, Frame]] = []

    def __call__(self, router: Router, peer: int, frame: Frame) -> None:
        self._held.append((peer, frame))
        if len(self._held) == self._count:
            random.Random(7).shuffle(self._held)
            for held in self._held:
                score(router, *held)
            self._held.clear()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def connected(client: RouterClient) -> None:
    async with asyncio.timeout(20):
        await client.connected.wait()


async def test_many_batches_in_flight_never_get_each_others_replies(
    door: Path, routers: Routers
) -> None:
    routers(Shuffles(50))
    async with RouterClient(door, role="http") as client:
        await connected(client)
        for start in range(0, 500, 50):
            numbers = range(start, start + 50)
            replies = await asyncio.gather(
                *(client.score(numbered(number), timeout=20) for number in numbers)
            )
            for number, reply in zip(numbers, replies, strict=True):
                assert reply.outcomes == [Value(number), Value(number * 2)]
    assert client.in_flight("wine") == 0


async def test_a_reply_says_which_model_made_it(door: Path, routers: Routers) -> None:
    routers(score)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        reply = await client.score(numbered(1), timeout=20)
    assert (reply.model.name, reply.model.version) == ("m", 3)


async def test_a_reply_says_at_which_journal_position_its_model_came_on_stage(
    door: Path, routers: Routers
) -> None:
    routers(score)
    async with RouterClient(door, role="http") as client:
        scored = await client.score_columns(numbered(1), timeout=10)
    assert scored.position == 5


async def test_each_router_is_told_the_floor_before_it_is_asked_for_a_score(
    door: Path, routers: Routers
) -> None:
    first = routers(silent)
    async with RouterClient(door, role="streams") as client:
        client.raise_floor({"wine": 7})
        asking = asyncio.create_task(client.score_columns(numbered(1), timeout=10))
        await until(lambda: len(first.seen) == 2)
        client.raise_floor({"wine": 6})  # no news
        first.die()
        second = routers(score)
        await asking
    for router in (first, second):
        told, asked = [frame for _, frame in router.seen]
        assert orjson.loads(told.payload) == {"positions": {"wine": 7}}
        assert (told.envelope.subject, asked.envelope.kind) == ("floor", Envelope.SCORE)


async def test_a_request_made_before_there_is_a_router_waits_for_one(
    door: Path, routers: Routers
) -> None:
    async with RouterClient(door, role="http") as client:
        asked = asyncio.create_task(client.score(numbered(1), timeout=20))
        await asyncio.sleep(0)
        routers(score)
        assert (await asked).outcomes == [Value(1), Value(2)]


async def test_what_was_in_flight_when_the_router_died_is_sent_to_the_next(
    door: Path, routers: Routers
) -> None:
    first = routers(silent)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        asked = [asyncio.create_task(client.score(numbered(n), timeout=20)) for n in range(20)]
        await until(lambda: len(first.seen) == 20)
        first.die()
        async with asyncio.timeout(20):
            await client.lost.wait()
        routers(score)
        replies = await asyncio.gather(*asked)
    assert [reply.outcomes[0] for reply in replies] == [Value(n) for n in range(20)]


async def test_a_late_answer_to_what_was_sent_twice_is_ignored(
    door: Path, routers: Routers
) -> None:
    def twice(router: Router, peer: int, frame: Frame) -> None:
        score(router, peer, frame)
        score(router, peer, frame)

    routers(twice)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        for number in range(5):
            reply = await client.score(numbered(number), timeout=20)
            assert reply.outcomes[0] == Value(number)


async def test_a_deadline_ends_the_waiting_and_the_late_reply_disturbs_nothing(
    door: Path, routers: Routers
) -> None:
    router = routers(silent)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        with pytest.raises(DeadlineExceeded):
            await client.score(numbered(1), timeout=0.05)
        assert client.in_flight("wine") == 0
        [(peer, frame)] = router.seen
        assert 0 < frame.envelope.budget_ms <= 50
        router.order(lambda: score(router, peer, frame))
        router.handler = score
        assert (await client.score(numbered(2), timeout=20)).outcomes[0] == Value(2)


async def test_batches_above_the_credit_are_refused_without_being_sent(
    door: Path, routers: Routers
) -> None:
    router = routers(silent, credit=2)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        asked = [asyncio.create_task(client.score(numbered(n), timeout=20)) for n in range(2)]
        await until(lambda: len(router.seen) == 2)
        with pytest.raises(Overloaded, match="2 batches of 'wine' are in flight already"):
            await client.score(numbered(3), timeout=20)
        assert client.in_flight("wine") == 2
        for seen in list(router.seen):
            router.order(lambda seen=seen: score(router, *seen))  # type: ignore[misc]
        await asyncio.gather(*asked)
        assert len(router.seen) == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (FailureCode.OVERLOADED, Overloaded),
        (FailureCode.UNKNOWN_DATA_TYPE, UnknownDataType),
        (FailureCode.NOT_FOUND, NotFound),
        ("a code of the future", InternalError),
    ],
)
async def test_a_failure_is_raised_as_what_it_is(
    door: Path, routers: Routers, code: str, error: type[RepertoryError]
) -> None:
    routers(fail_with(code))
    async with RouterClient(door, role="http") as client:
        await connected(client)
        with pytest.raises(error, match="because"):
            await client.score(numbered(1), timeout=20)


async def test_outcomes_that_do_not_fit_the_batch_are_an_error(
    door: Path, routers: Routers
) -> None:
    def short(router: Router, peer: int, frame: Frame) -> None:
        scored = ScoredBatch(values=np.ones(1).tobytes())
        router.reply(peer, frame, Envelope.SCORED, scored.SerializeToString())

    routers(short)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        with pytest.raises(RepertoryError):
            await client.score(numbered(1), timeout=20)


async def test_a_question_is_answered(door: Path, routers: Routers) -> None:
    def echo(router: Router, peer: int, frame: Frame) -> None:
        answer = {"subject": frame.envelope.subject, **orjson.loads(frame.payload)}
        router.reply(peer, frame, Envelope.ANSWER, orjson.dumps(answer))

    router = routers(echo)
    async with RouterClient(door, role="http") as client:
        answer = await client.ask("state", data_type="wine")
    assert answer == {"subject": "state", "data_type": "wine"}
    assert router.seen[0][1].envelope.data_type == "wine"


async def answering(subject: str, data: dict[str, Any]) -> dict[str, Any]:
    """Answer as a keeper would."""
    if subject == "versions":
        return {"of": data["data_type"]}
    if subject == "rollback":
        raise NotFound("no version 9")
    raise KeyError("a defect")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("versions", {"of": "wine"}),
        ("rollback", (FailureCode.NOT_FOUND, "no version 9")),
        ("publish", (FailureCode.INTERNAL, "KeyError: 'a defect'")),
    ],
)
async def test_a_client_answers_what_the_router_asks(
    door: Path, routers: Routers, subject: str, expected: object
) -> None:
    router = routers(silent)
    async with RouterClient(door, role="keeper", answer=answering) as client:
        await connected(client)
        question = Envelope(kind=Envelope.ASK, correlation_id=77, subject=subject)
        router.order(lambda: router.hub.send(1, question, b'{"data_type":"wine"}'))
        await until(lambda: router.seen)
    _, frame = router.seen[0]
    assert frame.envelope.correlation_id == 77
    if frame.envelope.kind == Envelope.ANSWER:
        assert orjson.loads(frame.payload) == expected
    else:
        failure = Failure.FromString(frame.payload)
        assert (failure.code, failure.message) == expected


async def test_a_client_without_answers_says_so(door: Path, routers: Routers) -> None:
    router = routers(silent)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        router.order(lambda: router.hub.send(1, Envelope(kind=Envelope.ASK), b"{}"))
        await until(lambda: router.seen)
    assert "nobody here answers" in Failure.FromString(router.seen[0][1].payload).message


async def test_a_router_that_speaks_garbage_is_left_and_met_again(
    door: Path, routers: Routers
) -> None:
    router = routers(score)
    async with RouterClient(door, role="http") as client:
        await connected(client)

        def garbage() -> None:
            router.hub._peers[1].outbox.append(b"\xff" * 64)
            router.hub._dirty.add(router.hub._peers[1])

        router.order(garbage)
        async with asyncio.timeout(20):
            await client.lost.wait()
        assert (await client.score(numbered(4), timeout=20)).outcomes[0] == Value(4)


async def test_leaving_fails_what_is_in_flight(door: Path, routers: Routers) -> None:
    router = routers(silent)
    async with RouterClient(door, role="http") as client:
        await connected(client)
        asked = asyncio.create_task(client.score(numbered(1), timeout=20))
        await until(lambda: router.seen)
    with pytest.raises(Unavailable):
        await asked


async def test_a_client_says_who_it_is_and_knows_its_router(door: Path, routers: Routers) -> None:
    router = routers(silent)
    async with RouterClient(door, role="streams", name="streams-1") as client:
        await connected(client)
        assert client.router_pid == os.getpid()
        client.tell("report", lag=3)
        await until(lambda: router.seen)
    assert (router.hello.role, router.hello.name) == ("streams", "streams-1")
    assert router.hello.pid == os.getpid()
    assert router.seen[0][1].envelope.kind == Envelope.TELL
    assert client.router_pid is None
