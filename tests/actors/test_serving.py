"""A serving actor, as Thespian drives it: what comes at its door is answered, each on its own."""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog
from thespian.actors import ActorAddress, WatchMessage

from repertory.actors import serving as serving_module
from repertory.actors.batch import RecordFailed, Value, decode_outcomes, encode_records
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.actors.loading import Loader
from repertory.actors.messages import (
    ClearStage,
    ModelStaged,
    Shard,
    StageModel,
    StagingFailed,
    StartServing,
)
from repertory.actors.serving import ModelServingActor
from repertory.config import NodePaths, parse_config
from repertory.errors import FailureCode
from repertory.models.model import Columns, ModelBroken, Outcomes
from repertory.models.onnx_model import OnnxModel
from repertory.protos.door_pb2 import Envelope, Failure, ScoredBatch
from repertory.protos.winerecord_pb2 import WineRecord

Stager = Callable[[int], StageModel]
Waiter = Callable[..., None]

FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)
ROUTER = ActorAddress(None)
MAX_BATCH = 4


class Actor(ModelServingActor):
    """The real actor, with this test in place of Thespian: it keeps what the actor sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[object] = []

    def send(self, targetAddr: ActorAddress, msg: object) -> None:
        """Keep a message."""
        self.sent.append(msg)

    def wakeupAfter(self, timePeriod: object, payload: object = None) -> None:
        """Do nothing: `turn` ticks."""


class World:
    """A serving actor, and a router's connection to its door."""

    def __init__(self, folder: Path) -> None:
        wine = {
            "message": "repertory.protos.winerecord_pb2:WineRecord",
            "features": ["pH", "alcohol"],
            "max_batch": MAX_BATCH,
        }
        config = parse_config({"data_dir": str(folder / "data"), "data_types": {"wine": wine}})
        self.paths = NodePaths(config, "a")
        self.paths.create()
        self.actor = Actor()
        self.actor.receiveMessage(StartServing(config, "a", Shard("wine")), ROUTER)
        self.router = socket.socket(socket.AF_UNIX)
        self.router.setblocking(False)
        self.router.connect(str(self.paths.serving_door("wine")))
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    def turn(self) -> None:
        """Have the actor do what is due, and take what it says."""
        self.actor.receiveMessage(WatchMessage([]), ROUTER)
        with contextlib.suppress(BlockingIOError):
            self._frames += self._reader.feed(self.router.recv(1 << 20))

    def ask(self, *frames: bytes) -> None:
        """Send frames, all at once."""
        self.router.sendall(b"".join(frames))

    def close(self) -> None:
        self.router.close()
        self.actor.stop()
        shutil.rmtree(self.paths.run)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[[], World]]:
    kept = {number: signal.getsignal(number) for number in FATAL}
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(World(tmp_path)))
    structlog.reset_defaults()
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()


Answers = Callable[[int], list[Frame]]


@pytest.fixture
def answers(world: World, answers_of: Callable[[World, int], list[Frame]]) -> Answers:
    """Return what waits for so many answers, and returns them by correlation id."""
    return lambda count: answers_of(world, count)


@pytest.fixture
def answers_of(wait_for: Waiter) -> Callable[[World, int], list[Frame]]:
    """Return what waits for so many answers of a world's actor."""

    def answers(world: World, count: int) -> list[Frame]:
        def there() -> bool:
            world.turn()
            return len(world._frames) >= count

        wait_for(there)
        found, world._frames = world._frames, []
        return sorted(found, key=lambda frame: frame.envelope.correlation_id)

    return answers


@pytest.fixture
def serving(world: World, stager: Stager, wait_for: Waiter) -> World:
    """Give a world whose actor serves `sum_plus(5)`."""

    def staged() -> bool:
        world.turn()
        return any(isinstance(message, ModelStaged) for message in world.actor.sent)

    world.actor.receiveMessage(stager(5), ROUTER)
    wait_for(staged)
    return world


def batch(number: int, *records: bytes, budget_ms: int = 0, count: int | None = None) -> bytes:
    envelope = Envelope(
        kind=Envelope.SCORE,
        correlation_id=number,
        data_type="wine",
        count=len(records) if count is None else count,
        budget_ms=budget_ms,
    )
    return encode_frame(envelope, encode_records(records))


def wine(ph: float, alcohol: float = 9) -> bytes:
    return WineRecord(pH=ph, alcohol=alcohol).SerializeToString()


def values(frames: Sequence[Frame], count: int = 1) -> list[Any]:
    return [decode_outcomes(ScoredBatch.FromString(frame.payload), count) for frame in frames]


def code(frame: Frame) -> str:
    assert frame.envelope.kind == Envelope.FAILURE
    return Failure.FromString(frame.payload).code


def test_without_a_model_a_batch_and_a_question_are_refused(world: World, answers: Answers) -> None:
    question = Envelope(kind=Envelope.ASK, correlation_id=2, subject="state")
    world.ask(batch(1, wine(3)), encode_frame(question))
    assert [code(frame) for frame in answers(2)] == [FailureCode.NO_MODEL] * 2


def test_batches_that_are_here_together_are_answered_each_on_its_own(
    serving: World, answers: Answers
) -> None:
    serving.ask(*(batch(number, wine(number)) for number in range(1, 21)))
    assert values(answers(20)) == [[Value(number + 9 + 5)] for number in range(1, 21)]


def test_no_more_records_go_through_the_model_together_than_max_batch(
    serving: World, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    score = OnnxModel.score

    def counted(model: OnnxModel, columns: Columns) -> Outcomes:
        runs.append(columns.count)
        return score(model, columns)

    monkeypatch.setattr(OnnxModel, "score", counted)
    large = [wine(3)] * (MAX_BATCH + 3)
    serving.ask(*(batch(number, wine(number)) for number in range(1, 11)), batch(11, *large))
    answers(11)
    assert runs == [4, 4, 2, MAX_BATCH + 3]


def test_a_bad_batch_among_good_ones_is_refused_alone(serving: World, answers: Answers) -> None:
    serving.ask(batch(1, wine(1)), batch(2, wine(2), count=9), batch(3, wine(3)))
    first, second, third = answers(3)
    assert values([first, third]) == [[Value(15)], [Value(17)]]
    assert code(second) == FailureCode.INVALID_REQUEST


def test_a_bad_record_fails_alone_whatever_batch_it_shares_a_run_with(
    serving: World, answers: Answers
) -> None:
    serving.ask(batch(1, wine(1), b"\xff"), batch(2, wine(2)))
    first, second = answers(2)
    good, bad = values([first], 2)[0]
    assert good == Value(15)
    assert isinstance(bad, RecordFailed)
    assert values([second]) == [[Value(16)]]


def test_a_batch_that_makes_the_engine_raise_fails_alone(
    serving: World, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = OnnxModel.score

    def touchy(model: OnnxModel, columns: Columns) -> Outcomes:
        if (columns.features["pH"] == 13).any():
            raise RuntimeError("not 13")
        return score(model, columns)

    monkeypatch.setattr(OnnxModel, "score", touchy)
    serving.ask(batch(1, wine(1)), batch(2, wine(13)), batch(3, wine(3)))
    first, second, third = answers(3)
    assert values([first, third]) == [[Value(15)], [Value(17)]]
    assert code(second) == FailureCode.INTERNAL


def test_when_the_engine_is_gone_batches_are_held_until_it_is_back(
    serving: World, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = OnnxModel.score
    broken: list[OnnxModel] = []

    def once(model: OnnxModel, columns: Columns) -> Outcomes:
        if not broken:
            broken.append(model)
            raise ModelBroken("the worker died")
        return score(model, columns)

    monkeypatch.setattr(OnnxModel, "score", once)
    serving.ask(*(batch(number, wine(number)) for number in range(1, 11)))
    assert values(answers(10)) == [[Value(number + 14)] for number in range(1, 11)]


def test_a_batch_whose_deadline_passed_while_it_was_held_is_not_scored(
    serving: World, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 5.0])  # when it comes, and when it is taken up again
    monkeypatch.setattr(serving_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    serving.actor._restoring = True
    serving.ask(batch(1, wine(1), budget_ms=1000))
    serving.turn()
    serving.actor._restored(())
    assert code(answers(1)[0]) == FailureCode.DEADLINE_EXCEEDED


def test_a_version_that_does_not_open_is_told_and_the_old_one_serves(
    serving: World, answers: Answers, stager: Stager, wait_for: Waiter
) -> None:
    update = stager(6)
    shutil.rmtree(update.folder)
    serving.actor.receiveMessage(update, ROUTER)

    def told() -> bool:
        serving.turn()
        return any(isinstance(message, StagingFailed) for message in serving.actor.sent)

    wait_for(told)
    serving.ask(batch(1, wine(1)))
    assert values(answers(1)) == [[Value(15)]]


def test_a_version_that_is_on_stage_is_acknowledged_again_at_once(
    serving: World, stager: Stager
) -> None:
    serving.actor.sent.clear()
    serving.actor.receiveMessage(stager(5), ROUTER)
    serving.actor.receiveMessage(stager(4), ROUTER)
    positions = [getattr(message, "position", None) for message in serving.actor.sent]
    assert positions == [5, 4]


def done(world: World, position: int) -> Callable[[], bool]:
    """Return what tells whether the router was told that a position is done."""

    def told() -> bool:
        world.turn()
        return position in [getattr(message, "position", None) for message in world.actor.sent]

    return told


def test_a_retired_model_is_dropped_and_what_comes_is_told_so(
    serving: World, answers: Answers, wait_for: Waiter
) -> None:
    serving.actor.receiveMessage(ClearStage("wine", 6, 1000), ROUTER)
    wait_for(done(serving, 6))
    serving.ask(batch(1, wine(3)))
    [refused] = answers(1)
    assert code(refused) == FailureCode.NO_MODEL
    assert b"was retired at 1970-01-01T00:00:01Z" in refused.payload


def test_a_later_model_serves_where_one_was_retired(
    serving: World, answers: Answers, stager: Stager, wait_for: Waiter
) -> None:
    serving.actor.receiveMessage(ClearStage("wine", 6, 1000), ROUTER)
    serving.actor.receiveMessage(stager(7), ROUTER)
    wait_for(done(serving, 7))
    serving.ask(batch(1, wine(1)))
    assert values(answers(1)) == [[Value(17)]]


def test_a_model_that_is_opened_while_it_is_retired_does_not_serve(
    serving: World, answers: Answers, stager: Stager, wait_for: Waiter
) -> None:
    serving.actor.receiveMessage(stager(6), ROUTER)
    serving.actor.receiveMessage(ClearStage("wine", 7, 1000), ROUTER)
    wait_for(done(serving, 6))
    wait_for(done(serving, 7))
    serving.ask(batch(1, wine(1)))
    assert code(answers(1)[0]) == FailureCode.NO_MODEL


def test_a_retirement_older_than_the_model_is_done_already(
    serving: World, answers: Answers, wait_for: Waiter
) -> None:
    serving.actor.receiveMessage(ClearStage("wine", 4, 1000), ROUTER)
    wait_for(done(serving, 4))
    serving.ask(batch(1, wine(1)))
    assert values(answers(1)) == [[Value(15)]]


def test_a_retirement_waits_for_the_snapshot_which_may_be_newer(
    tmp_path: Path, make_world: Callable[[], World], stager: Stager, wait_for: Waiter
) -> None:
    loader = Loader("wine", tmp_path / "data" / "a" / "snapshots")
    loader.save(stager(8), 77)
    loader.close()
    world = make_world()
    world.actor.receiveMessage(ClearStage("wine", 6, 1000), ROUTER)
    wait_for(done(world, 6))
    stage = world.actor._stage
    assert stage is not None
    assert (stage.position, stage.retired_json()) == (8, None)


def test_a_restarted_actor_knows_that_its_model_is_retired(
    tmp_path: Path, make_world: Callable[[], World], answers_of: Callable[[World, int], list[Frame]]
) -> None:
    loader = Loader("wine", tmp_path / "data" / "a" / "snapshots")
    loader.clear(ClearStage("wine", 6, 1000))
    loader.close()
    world = make_world()
    world.ask(batch(1, wine(3)))
    assert b"was retired at 1970-01-01T00:00:01Z" in answers_of(world, 1)[0].payload


def test_a_router_that_merges_is_told_what_it_needs(serving: World, answers: Answers) -> None:
    question = Envelope(kind=Envelope.ASK, correlation_id=1, subject="state")
    serving.ask(batch(2, wine(1)), encode_frame(question, b'{"sketches": true}'))
    state = next(
        orjson.loads(frame.payload)
        for frame in answers(2)
        if frame.envelope.kind == Envelope.ANSWER
    )
    assert (state["position"], state["version"], state["pid"]) == (5, 5, os.getpid())
    assert set(state["sketches"]) == {"times"}


def test_the_state_names_the_version_and_the_node(serving: World, answers: Answers) -> None:
    serving.ask(encode_frame(Envelope(kind=Envelope.ASK, correlation_id=1, subject="state")))
    state = orjson.loads(answers(1)[0].payload)
    assert (state["name"], state["version"], state["node"]) == ("sum-5", 5, "a")
