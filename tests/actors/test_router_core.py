"""What a router decides: events in, instructions out, by a clock that stands until it is moved."""

from typing import Any

import orjson
import pytest

from repertory.actors.frames import Frame
from repertory.actors.instructions import Send, Stage
from repertory.actors.messages import ClearStage, ModelStaged, Shard, StagingFailed
from repertory.actors.router_core import RouterCore
from repertory.actors.target import FATAL_ATTEMPTS
from repertory.config import ClusterConfig, DataType
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure, Hello, Welcome

CREDIT = 3
TYPES = {
    "wine": DataType(message="m:Wine", features=("a",), credit=CREDIT),
    "beer": DataType(message="m:Beer", features=("a",), credit=50, required=False),
}
FACE, OTHER, KEEPER, ACTOR = 1, 2, 3, 4  # peers


class World:
    """A router's core with two faces, and a clock."""

    def __init__(self, *reporting: str) -> None:
        self.now = 100.0
        config = ClusterConfig(data_types=TYPES)
        self.core = RouterCore(config, "a", "first", reporting=reporting, clock=lambda: self.now)
        self.core.connected(FACE)
        self.core.connected(OTHER)

    def out(self) -> list[Send]:
        """Take the frames that are to be sent."""
        sends = [item for item in self.core.outbox if isinstance(item, Send)]
        self.core.outbox = [item for item in self.core.outbox if isinstance(item, Stage)]
        return sends

    def stagings(self) -> list[int]:
        """Take the positions that serving actors are told to stage."""
        positions = [item.message.position for item in self.core.outbox if isinstance(item, Stage)]
        self.core.outbox = [item for item in self.core.outbox if isinstance(item, Send)]
        return positions

    def score(self, number: int, *, peer: int = FACE, data_type: str = "wine", ms: int = 0) -> None:
        envelope = Envelope(
            kind=Envelope.SCORE, correlation_id=number, data_type=data_type, budget_ms=ms
        )
        self.core.arrived(peer, Frame(envelope, b"records %d" % number))

    def ask(self, subject: str, number: int = 1, *, peer: int = FACE, **data: Any) -> None:
        envelope = Envelope(
            kind=Envelope.ASK,
            correlation_id=number,
            subject=subject,
            data_type=data.get("data_type", ""),
        )
        self.core.arrived(peer, Frame(envelope, orjson.dumps(data)))

    def reply(self, peer: int, to: Send, payload: bytes = b"scored") -> None:
        number = to.envelope.correlation_id
        envelope = Envelope(kind=Envelope.SCORED, correlation_id=number)
        self.core.arrived(peer, Frame(envelope, payload))

    def hello(self, peer: int, role: str) -> None:
        hello = Hello(role=role, name=role).SerializeToString()
        self.core.arrived(peer, Frame(Envelope(kind=Envelope.HELLO), hello))
        self.out()

    def tell(self, peer: int, subject: str, **data: Any) -> None:
        tell = Envelope(kind=Envelope.TELL, subject=subject)
        self.core.arrived(peer, Frame(tell, orjson.dumps(data)))

    def answer_to(self, subject: str) -> dict[str, Any]:
        self.out()
        self.ask(subject)
        [send] = self.out()
        return answer(send)

    def keeper_up(self, peer: int = KEEPER) -> None:
        self.core.connected(peer)
        hello = Hello(role="keeper", name="keeper").SerializeToString()
        self.core.arrived(peer, Frame(Envelope(kind=Envelope.HELLO), hello))
        welcomed = next(i for i, item in enumerate(self.core.outbox) if isinstance(item, Send))
        welcome = self.core.outbox.pop(welcomed)
        assert isinstance(welcome, Send)
        assert welcome.envelope.kind == Envelope.WELCOME

    def serves(self, version: int | None, peer: int = ACTOR, data_type: str = "wine") -> None:
        model = None if version is None else {"dataType": data_type, "version": version}
        tell = Envelope(kind=Envelope.TELL, subject="status")
        self.core.arrived(peer, Frame(tell, orjson.dumps({"model": model})))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def up() -> World:
    world = World()
    world.core.shard_up(Shard("wine"), ACTOR)
    return world


def failure(send: Send) -> tuple[int, int, str]:
    assert send.envelope.kind == Envelope.FAILURE
    return (
        send.peer,
        send.envelope.correlation_id,
        Failure.FromString(send.payload).code,
    )


def answer(send: Send) -> dict[str, Any]:
    assert send.envelope.kind == Envelope.ANSWER
    found: dict[str, Any] = orjson.loads(send.payload)
    return found


def staging(position: int, data_type: str = "wine") -> dict[str, Any]:
    return {
        "data_type": data_type,
        "position": position,
        "version": position,
        "name": "m",
        "description": "",
        "model_type": "ONNX",
        "sha256": "",
        "folder": "/",
    }


# --- batches


def test_a_batch_goes_to_the_actor_of_its_type_and_the_reply_back(up: World) -> None:
    up.score(42)
    [to_actor] = up.out()
    assert (to_actor.peer, to_actor.payload) == (ACTOR, b"records 42")
    up.reply(ACTOR, to_actor, b"score 42")
    [back] = up.out()
    assert (back.peer, back.envelope.kind, back.payload) == (FACE, Envelope.SCORED, b"score 42")
    assert back.envelope.correlation_id == 42


def test_equal_numbers_of_two_clients_are_not_mixed_up(up: World) -> None:
    up.score(1, peer=FACE)
    up.score(1, peer=OTHER)
    first, second = up.out()
    up.reply(ACTOR, second, b"for OTHER")
    up.reply(ACTOR, first, b"for FACE")
    assert [(send.peer, send.payload) for send in up.out()] == [
        (OTHER, b"for OTHER"),
        (FACE, b"for FACE"),
    ]


def test_a_batch_above_the_credit_is_refused_and_credit_comes_back_with_replies(up: World) -> None:
    for number in range(CREDIT + 1):
        up.score(number)
    *accepted, refused = up.out()
    assert len(accepted) == CREDIT
    assert failure(refused) == (FACE, CREDIT, FailureCode.OVERLOADED)
    up.reply(ACTOR, accepted[0])
    up.score(9)
    assert [send.peer for send in up.out()] == [FACE, ACTOR]


def test_one_client_does_not_use_up_the_credit_of_another(up: World) -> None:
    for number in range(CREDIT):
        up.score(number, peer=FACE)
    up.score(1, peer=OTHER)
    assert Envelope.FAILURE not in [send.envelope.kind for send in up.out()]


def test_an_actor_has_at_most_its_window_in_hand(up: World) -> None:
    for number in range(CREDIT):
        up.score(number, peer=FACE)
        up.score(number, peer=OTHER)
    first, *others = up.out()
    assert len(others) == CREDIT - 1
    up.reply(ACTOR, first)
    assert [send.peer for send in up.out()] == [FACE, ACTOR]


def test_an_unknown_data_type_is_refused_by_name(up: World) -> None:
    up.score(5, data_type="water")
    [send] = up.out()
    assert failure(send) == (FACE, 5, FailureCode.UNKNOWN_DATA_TYPE)
    assert "'water'" in Failure.FromString(send.payload).message
    assert "beer, wine" in Failure.FromString(send.payload).message


def test_batches_wait_for_their_actor_and_go_in_order_when_it_comes(world: World) -> None:
    world.score(1)
    world.score(2)
    assert world.out() == []
    world.core.shard_up(Shard("wine"), ACTOR)
    assert [send.payload for send in world.out()] == [b"records 1", b"records 2"]


def test_what_was_in_flight_at_a_death_is_sent_to_the_successor_in_order(up: World) -> None:
    for number in (1, 2):
        up.score(number)
    up.out()
    up.core.closed(ACTOR)
    up.score(3)
    up.core.shard_up(Shard("wine"), 9)
    sends = up.out()
    assert [send.payload for send in sends] == [b"records 1", b"records 2", b"records 3"]
    assert {send.peer for send in sends} == {9}


def test_a_batch_at_whose_side_actors_keep_dying_is_failed(up: World) -> None:
    up.score(1)
    for peer in range(10, 10 + FATAL_ATTEMPTS - 1):
        up.core.closed(peer - 1 if peer > 10 else ACTOR)
        up.core.shard_up(Shard("wine"), peer)
    up.out()
    up.core.closed(10 + FATAL_ATTEMPTS - 2)
    [send] = up.out()
    assert failure(send) == (FACE, 1, FailureCode.INTERNAL)
    assert f"died {FATAL_ATTEMPTS} times" in Failure.FromString(send.payload).message


def test_a_late_reply_of_a_dead_actor_is_ignored(up: World) -> None:
    up.score(1)
    [first] = up.out()
    up.core.closed(ACTOR)
    up.core.shard_up(Shard("wine"), 9)
    [second] = up.out()
    up.reply(9, first)
    up.reply(ACTOR, second)
    assert up.out() == []
    up.reply(9, second)
    up.reply(9, second)
    assert [send.peer for send in up.out()] == [FACE]


def test_a_reply_from_a_client_counts_for_nothing(up: World) -> None:
    up.score(1)
    [to_actor] = up.out()
    up.reply(OTHER, to_actor, b"forged")
    assert up.out() == []


def test_an_old_actor_that_closes_after_its_successor_came_disturbs_nothing(up: World) -> None:
    up.core.shard_up(Shard("wine"), 9)
    up.core.closed(ACTOR)
    up.score(1)
    assert [send.peer for send in up.out()] == [9]


# --- deadlines


def test_a_batch_that_waited_past_its_deadline_is_answered_so(world: World) -> None:
    world.score(1, ms=500)
    world.now += 0.4
    world.core.tick()
    assert world.out() == []
    world.now += 0.2
    world.core.tick()
    assert failure(world.out()[0]) == (FACE, 1, FailureCode.DEADLINE_EXCEEDED)


def test_a_batch_past_its_deadline_is_not_handed_to_an_actor(world: World) -> None:
    world.score(1, ms=500)
    world.now += 0.6
    world.core.shard_up(Shard("wine"), ACTOR)
    assert [failure(send)[2] for send in world.out()] == [FailureCode.DEADLINE_EXCEEDED]
    for number in range(CREDIT):
        world.score(number)  # neither credit nor window is lost
    assert [send.peer for send in world.out()] == [ACTOR] * CREDIT


def test_the_actor_is_told_how_much_time_is_left(world: World) -> None:
    world.score(1, ms=500)
    world.score(2)
    world.now += 0.25
    world.core.shard_up(Shard("wine"), ACTOR)
    assert [send.envelope.budget_ms for send in world.out()] == [250, 0]


def test_an_actor_that_does_not_answer_is_named(up: World) -> None:
    up.score(1)
    up.now += 59
    assert up.core.stuck(60) == []
    up.now += 2
    assert up.core.stuck(60) == [(Shard("wine"), ACTOR)]


# --- clients


def test_a_client_is_welcomed_with_its_credit(world: World) -> None:
    hello = Hello(role="http", name="http").SerializeToString()
    world.core.arrived(FACE, Frame(Envelope(kind=Envelope.HELLO), hello))
    [send] = world.out()
    welcome = Welcome.FromString(send.payload)
    assert (send.peer, send.envelope.kind) == (FACE, Envelope.WELCOME)
    assert (welcome.node, welcome.incarnation, welcome.credit) == ("a", "first", CREDIT)


def test_what_a_vanished_client_asked_is_answered_to_nobody(up: World) -> None:
    up.score(1)
    [to_actor] = up.out()
    up.core.closed(FACE)
    up.reply(ACTOR, to_actor)
    assert up.out() == []


def test_what_a_vanished_client_had_queued_is_not_scored(world: World) -> None:
    world.score(1)
    world.score(2, peer=OTHER)
    world.core.closed(FACE)
    world.core.shard_up(Shard("wine"), ACTOR)
    assert [send.payload for send in world.out()] == [b"records 2"]


def test_a_retirement_is_staged_like_a_model_and_said_again_to_each_new_actor(up: World) -> None:
    up.keeper_up()
    up.ask("clear", 9, peer=KEEPER, data_type="wine", position=7, since_ms=5)
    assert up.stagings() == [7]
    up.core.staged(ModelStaged("wine", 7, 5))
    [told] = up.out()
    assert (told.peer, answer(told)["staged"]) == (KEEPER, True)
    up.core.closed(ACTOR)
    up.core.shard_up(Shard("wine"), ACTOR + 1)
    assert up.core.unacknowledged() == [Stage(Shard("wine"), ClearStage("wine", 7, 5))]


def test_a_model_that_fails_after_a_retirement_leaves_the_stage_empty(up: World) -> None:
    up.keeper_up()
    up.ask("clear", 9, peer=KEEPER, data_type="wine", position=7, since_ms=5)
    up.core.staged(ModelStaged("wine", 7, 5))
    up.ask("stage", 10, peer=KEEPER, **staging(8))
    up.core.staged(StagingFailed("wine", 8, "no"))
    up.stagings()
    up.core.closed(ACTOR)
    up.core.shard_up(Shard("wine"), ACTOR + 1)
    assert up.stagings() == [7]


# --- questions


def test_keeper_questions_wait_until_a_keeper_comes(world: World) -> None:
    world.ask("publish", 7, name="m")
    world.ask("versions", 8)
    assert world.out() == []
    world.keeper_up()
    sends = world.out()
    assert [send.envelope.subject for send in sends] == ["publish", "versions"]
    assert {send.peer for send in sends} == {KEEPER}


def test_a_question_in_hand_of_a_keeper_that_died_goes_to_the_next(world: World) -> None:
    world.keeper_up()
    world.ask("publish", 7)
    world.out()
    world.core.closed(KEEPER)
    world.keeper_up(9)
    [question] = world.out()
    assert (question.peer, question.envelope.subject) == (9, "publish")
    world.reply(9, question, b"{}")
    assert [(send.peer, send.envelope.correlation_id) for send in world.out()] == [(FACE, 7)]


def test_a_state_question_is_answered_by_the_actor(up: World) -> None:
    up.ask("state", 3, data_type="wine")
    [question] = up.out()
    assert (question.peer, question.envelope.kind) == (ACTOR, Envelope.ASK)
    up.ask("state", 4, data_type="water")
    assert failure(up.out()[0])[2] == FailureCode.UNKNOWN_DATA_TYPE


def test_a_question_that_nobody_answers_is_refused_by_name(world: World) -> None:
    world.ask("weather", 3)
    [send] = world.out()
    assert failure(send)[2] == FailureCode.INVALID_REQUEST
    assert "'weather'" in Failure.FromString(send.payload).message


def test_health_is_ready_when_every_required_type_serves(up: World) -> None:
    def health() -> dict[str, Any]:
        up.ask("health")
        return answer(up.out()[0])

    assert (health()["ready"], health()["waiting_for"]) == (False, ["wine"])
    up.serves(None)
    assert not health()["ready"]
    up.serves(3)
    assert (health()["ready"], health()["waiting_for"]) == (True, [])
    up.core.closed(ACTOR)
    assert not health()["ready"]


def test_a_node_with_kafka_is_ready_when_its_face_is_well() -> None:
    world = World("streams")
    world.core.shard_up(Shard("wine"), ACTOR)
    world.serves(3)
    world.hello(FACE, "streams")

    def health() -> tuple[bool, Any]:
        found = world.answer_to("health")
        assert found["waiting_for"] == []
        return found["ready"], found["troubles"].get("streams")

    assert health() == (False, ["the Kafka face has not reported yet"])
    world.tell(FACE, "report", troubles=["no broker answers at a:1"])
    assert health() == (False, ["no broker answers at a:1"])
    world.tell(FACE, "report", records=1)
    assert health() == (True, None)
    world.now += 60
    assert health() == (False, ["the Kafka face has not reported for 60 s"])


def test_the_troubles_of_the_keeper_are_those_of_the_node(up: World) -> None:
    up.serves(3)
    up.keeper_up()
    up.tell(KEEPER, "report", troubles=["the topic models is compacted wrongly"])
    status = up.answer_to("status")
    assert not status["ready"]
    assert status["troubles"] == {"keeper": ["the topic models is compacted wrongly"]}
    up.core.closed(KEEPER)
    assert up.answer_to("health")["ready"]


def test_the_newest_metrics_of_each_client_are_kept_while_it_is_connected(world: World) -> None:
    world.hello(FACE, "streams")
    for number in (1, 2):
        world.tell(FACE, "metrics", exposition=f"records {number}\n")
    assert world.answer_to("status")["faces"] == {}
    assert world.answer_to("metrics") == {"texts": {"streams:streams": "records 2\n"}}
    world.ask("metrics", peer=OTHER)
    world.core.closed(FACE)
    world.out()
    world.ask("metrics", peer=OTHER)
    assert answer(world.out()[0]) == {"texts": {}}


def test_models_are_those_on_stage(up: World) -> None:
    up.ask("models")
    up.serves(3)
    up.ask("models")
    before, after = up.out()
    assert answer(before)["models"] == []
    assert answer(after)["models"] == [{"dataType": "wine", "version": 3}]


def test_status_tells_what_waits_and_what_the_faces_report(up: World) -> None:
    hello = Hello(role="streams", name="s1").SerializeToString()
    up.core.arrived(OTHER, Frame(Envelope(kind=Envelope.HELLO), hello))
    up.core.arrived(OTHER, Frame(Envelope(kind=Envelope.TELL, subject="report"), b'{"lag":3}'))
    up.score(1)
    up.score(2, data_type="beer")
    up.out()
    up.ask("status")
    status = answer(up.out()[0])
    assert status["faces"] == {"streams:s1": {"lag": 3}}
    assert status["data_types"]["wine"]["in_flight"] == 1
    assert status["data_types"]["beer"]["waiting"] == 1


# --- stagings


@pytest.fixture
def staged(up: World) -> World:
    """Return a world whose keeper had version 5 staged."""
    up.keeper_up()
    up.ask("stage", 1, peer=KEEPER, **staging(5))
    up.core.staged(ModelStaged("wine", 5, 1234))
    up.out()
    up.stagings()
    return up


def test_a_staging_goes_to_the_actor_and_its_answer_to_the_keeper(up: World) -> None:
    up.keeper_up()
    up.ask("stage", 11, peer=KEEPER, **staging(5))
    assert up.stagings() == [5]
    assert up.out() == []
    up.core.staged(ModelStaged("wine", 5, 1234))
    up.core.staged(ModelStaged("wine", 5, 1234))
    [send] = up.out()
    assert (send.peer, send.envelope.correlation_id) == (KEEPER, 11)
    assert answer(send)["staged"] is True
    assert answer(send)["since_ms"] == 1234


def test_a_staging_is_repeated_until_it_is_acknowledged(up: World) -> None:
    up.keeper_up()
    up.ask("stage", 1, peer=KEEPER, **staging(5))
    assert [stage.message.position for stage in up.core.unacknowledged()] == [5]
    up.core.staged(ModelStaged("wine", 4, 0))  # of an older one
    assert [stage.message.position for stage in up.core.unacknowledged()] == [5]
    up.core.staged(ModelStaged("wine", 5, 0))
    assert up.core.unacknowledged() == []


def test_a_new_actor_is_given_the_staging_again_and_the_keeper_is_not_told_twice(
    staged: World,
) -> None:
    staged.core.closed(ACTOR)
    staged.core.shard_up(Shard("wine"), 9)
    assert staged.stagings() == [5]
    assert [stage.message.position for stage in staged.core.unacknowledged()] == [5]
    staged.core.staged(ModelStaged("wine", 5, 1234))
    assert staged.core.unacknowledged() == []
    assert staged.out() == []


def test_a_failed_staging_is_told_and_a_new_actor_gets_the_one_before_it(staged: World) -> None:
    staged.ask("stage", 2, peer=KEEPER, **staging(6))
    staged.core.staged(StagingFailed("wine", 6, "no such file"))
    [send] = staged.out()
    assert answer(send)["staged"] is False
    assert answer(send)["reason"] == "no such file"
    staged.stagings()
    staged.core.closed(ACTOR)
    staged.core.shard_up(Shard("wine"), 9)
    assert staged.stagings() == [5]


def test_staging_an_unknown_type_is_refused(world: World) -> None:
    world.ask("stage", 2, peer=FACE, **staging(1, "water"))
    assert failure(world.out()[0])[2] == FailureCode.UNKNOWN_DATA_TYPE


def test_an_answer_for_a_staging_that_was_never_asked_is_ignored(world: World) -> None:
    world.core.staged(ModelStaged("wine", 1, 0))
    assert world.out() == []
