"""ModelServingActor: owns the serving of one data type, or of one of its slots.

This is the shell round Stage: it owns the door and the loader's thread.
"""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
import structlog
from thespian.actors import ActorAddress, ActorExitRequest

from repertory.actors.batch import JSON, PROBE, decode_records
from repertory.actors.collector import spare_what_is_here
from repertory.actors.delay import Delay
from repertory.actors.door_actor import DoorActor
from repertory.actors.frames import PROTOCOL_VERSION, Frame
from repertory.actors.hub import Arrived, Closed, Event
from repertory.actors.loading import (
    Cleared,
    Loaded,
    Loader,
    LoadFailed,
    Restored,
    SharedFaults,
)
from repertory.actors.logs import set_up_logging
from repertory.actors.messages import (
    Adopted,
    ClearStage,
    ModelStaged,
    Shard,
    StageModel,
    StagingFailed,
    StandBy,
    StartServing,
)
from repertory.actors.sketches import wants_sketches
from repertory.actors.sole import Sole
from repertory.actors.stage import Stage
from repertory.actors.wire import unpack_address
from repertory.config import NodePaths
from repertory.errors import FailureCode, NoModel, ProtocolError
from repertory.models.loader import import_engine
from repertory.models.model import ModelBroken
from repertory.models.records import RecordDecoder
from repertory.models.schema import schema_of
from repertory.protos.door_pb2 import Envelope, Failure, Welcome
from repertory.protos.loading import load_message

# A predecessor that was killed frees its lock at once; one that is only slow to end gets this long.
LOCK_SECONDS = 5.0

log = structlog.get_logger(__name__)


class _Held(NamedTuple):
    peer: int
    frame: Frame
    deadline: float


class _Due(NamedTuple):
    item: _Held
    records: list[bytes]

    @property
    def kind(self) -> tuple[int, bool]:
        """Return the encoding, and whether it is a probe: batches of one kind go together."""
        envelope = self.item.frame.envelope
        return envelope.encoding, envelope.subject == PROBE


class ModelServingActor(DoorActor):
    """Scores the records of a data type, swaps its model between two batches, keeps its snapshot.

    Batches that are here at the same time go through the model together.

    There is one for each slot of each data type of a node: it holds a lock for as long as it lives, so that a
    router that dies at the wrong moment cannot bring up two.
    """

    def __init__(self) -> None:
        super().__init__()
        self._node = ""
        self._shard = Shard("")
        self._stage: Stage | None = None
        self._loader: Loader | None = None
        self._paths: NodePaths | None = None
        self._sole: Sole | None = None
        self._lock_until = 0.0
        self._restoring = True
        self._faults: tuple[str, ...] = ()
        self._shared_faults: tuple[str, ...] = ()
        self._shared: str | None = None  # where snapshots are shared
        self._held: deque[_Held] = deque()
        self._due: list[_Due] = []
        self._max_batch = self._credit = 1
        self._loading: StageModel | None = None
        self._clearing: ClearStage | None = None
        self._searched = False  # for a snapshot
        self._router: ActorAddress | None = None
        self._router_pid = 0
        self._routers: set[int] = set()

    def control(self, message: Any, sender: ActorAddress) -> None:
        """Handle a Thespian message."""
        if isinstance(message, StartServing):
            self._start(message)
        elif isinstance(message, StandBy):
            self._router_pid = os.getppid()
            import_engine()
            self.start_ticking()
        elif isinstance(message, StageModel):
            self._router = sender
            self._load(message)
        elif isinstance(message, ClearStage):
            self._router = sender
            self._clear(message)

    def happened(self, event: Event) -> None:
        """Handle what happened at a door."""
        match event:
            case Arrived(peer, frame):
                self._arrived(peer, frame)
            case Closed(peer, _):
                self._routers.discard(peer)
                self._held = deque(held for held in self._held if held.peer != peer)

    def settle(self) -> None:
        """Score what has come in."""
        due, self._due = self._due, []
        for run in _runs(due, self._max_batch):
            self._score(run)
            self.hub.flush()  # these askers need not wait for the others

    def tick(self) -> None:
        """Take the lock, and open the door, as soon as the predecessor is gone."""
        if self._stage is None:
            self._end_with_router()
        elif self._loader is None:
            self._open_door()
        else:
            self.stop_ticking()

    def woken(self) -> None:
        """Take what the loader has done."""
        assert self._loader is not None
        for result in self._loader.results():
            match result:
                case Loaded():
                    self._swap(result)
                case LoadFailed(update, reason):
                    self._failed(update, reason)
                case Cleared(update):
                    self._cleared(update)
                case Restored(faults):
                    self._restored(faults)
                case SharedFaults(faults):
                    self._shared_faults = faults
                    self._tell_status()

    def stop(self) -> None:
        """Write the last snapshot, and free the model."""
        if self._loader is not None:
            self._loader.close()
        super().stop()

    # --- coming up

    def _end_with_router(self) -> None:
        """End when the router that this was started for is gone: nobody else knows of it yet."""
        if os.getppid() != self._router_pid:
            self.send(self.myAddress, ActorExitRequest())

    def _start(self, message: StartServing) -> None:
        if self._stage is not None:
            return  # sent again
        config, self._node, self._shard = message.config, message.node, message.shard
        set_up_logging(config.log_level)
        name = self._shard.data_type
        data_type = config.data_types[name]
        self._max_batch, self._credit = data_type.max_batch, data_type.credit
        decoder = RecordDecoder(schema_of(name, data_type), load_message(data_type.message))
        delay = data_type.delays.get(self._shard.slot)
        self._stage = Stage(self._shard, decoder, delay=None if delay is None else Delay(delay))
        self._paths, self._shared = NodePaths(config, self._node), config.snapshots.url
        self._sole = Sole(self._paths.serving_door(name, self._shard.slot))
        self._lock_until = time.monotonic() + LOCK_SECONDS
        self._open_door()
        self.start_ticking()

    def _open_door(self) -> None:
        assert self._paths is not None
        assert self._sole is not None
        if not self._sole.taken():
            if time.monotonic() > self._lock_until:
                log.warning("another actor serves this", shard=str(self._shard))
                self.send(self.myAddress, ActorExitRequest())
                self._lock_until = float("inf")
            return
        self._loader = Loader(
            self._shard.data_type,
            self._paths.snapshots_of(self._shard.slot),
            slot=self._shard.slot,
            shared=self._shared,
        )
        self.hub.watch(self._loader.fileno(), self.woken)
        self._loader.restore()
        self.hub.listen(self._paths.serving_door(self._shard.data_type, self._shard.slot))
        spare_what_is_here()

    def _restored(self, faults: tuple[str, ...]) -> None:
        assert self._stage is not None
        self._restoring, self._searched = False, True
        self._faults = faults
        for fault in faults:
            log.error("a snapshot is not used; the journal is", why=fault)
        log.info(
            "restored" if self._stage.current else "no snapshot to restore",
            shard=str(self._shard),
            version=self._stage.current and self._stage.current.update.version,
        )
        self._empty_stage()
        self._tell_status()
        self._score_held()

    # --- models

    def _load(self, update: StageModel) -> None:
        assert self._stage is not None
        if update.position <= self._stage.position:
            self._done_already(update.position)
        elif self._loader is not None and self._loading != update:
            self._loading = update
            self._loader.load(update)

    def _swap(self, loaded: Loaded) -> None:
        assert self._stage is not None
        assert self._loader is not None
        if loaded.update.position < self._stage.position:
            # What is on stage, or was taken from it, while this was loaded is newer.
            self._loader.close_model(loaded.model)
            self._done_already(loaded.update.position)
            return
        leaving = self._stage.swap(loaded.update, loaded.model, loaded.since_ms)
        assert self._stage.current is not None
        since = self._stage.current.since_ms
        if leaving is not None:
            self._loader.close_model(leaving)
        if self._loading == loaded.update:
            self._loading = None
        if loaded.since_ms is None:  # not from a snapshot
            self._loader.save(loaded.update, since)
            log.info("swapped", shard=str(self._shard), version=loaded.update.version)
            self._tell_router(self._staged(loaded.update.position, since))
            self._restoring = False
            self._score_held()
        self._tell_status()

    def _clear(self, update: ClearStage) -> None:
        """Take the model from the stage; once the snapshot is known, which may be newer."""
        assert self._stage is not None
        if self._clearing == update:
            return  # sent again
        if update.position <= self._stage.position:
            self._done_already(update.position)
            return
        self._clearing = update
        if self._searched:
            self._empty_stage()

    def _empty_stage(self) -> None:
        assert self._stage is not None
        assert self._loader is not None
        update = self._clearing
        if update is None:
            return
        if update.position <= self._stage.position:
            self._clearing = None
            self._done_already(update.position)
            return
        if (leaving := self._stage.clear(update)) is not None:
            self._loader.close_model(leaving)
        self._loader.clear(update)
        self._restoring = False
        self._tell_status()
        self._score_held()

    def _cleared(self, update: ClearStage) -> None:
        assert self._stage is not None
        if update.position > self._stage.position:  # found in place of a snapshot
            self._stage.clear(update)
        if self._clearing == update:
            self._clearing = None
            log.info("retired", shard=str(self._shard), position=update.position)
            self._tell_router(self._staged(update.position, update.since_ms))

    def _done_already(self, position: int) -> None:
        assert self._stage is not None
        self._tell_router(self._staged(position, self._stage.since_ms))

    def _failed(self, update: StageModel, reason: str) -> None:
        self._loading = None
        log.warning("a version could not be loaded", version=update.version, why=reason)
        shard, position = self._shard, update.position
        self._tell_router(StagingFailed(shard.data_type, position, reason, slot=shard.slot))
        if self._restoring:  # it was to replace a broken engine
            self._restoring = False
            self._score_held()

    def _broken(self, reason: str) -> None:
        """Open the model again; what comes meanwhile is held."""
        assert self._stage is not None
        assert self._loader is not None
        current, self._stage.current = self._stage.current, None
        if current is not None:
            log.error("the engine died; it is started again", why=reason)
            self._restoring = True
            self._loading = current.update
            self._loader.close_model(current.model)
            self._loader.load(current.update)

    def _staged(self, position: int, since_ms: int) -> ModelStaged:
        return ModelStaged(self._shard.data_type, position, since_ms, slot=self._shard.slot)

    def _tell_router(self, fact: ModelStaged | StagingFailed) -> None:
        if self._router is not None:
            self.send(self._router, fact)

    # --- frames

    def _arrived(self, peer: int, frame: Frame) -> None:
        kind, budget = frame.envelope.kind, frame.envelope.budget_ms
        deadline = time.monotonic() + budget / 1000 if budget else float("inf")
        if kind == Envelope.HELLO:
            self._greet(peer)
        elif kind == Envelope.TELL and frame.envelope.subject == "adopt":
            self._router = unpack_address(frame.payload)
            self.send(self._router, Adopted(self._shard))
        elif kind in (Envelope.SCORE, Envelope.ASK):
            self._handle(_Held(peer, frame, deadline))

    def _greet(self, peer: int) -> None:
        self._routers.add(peer)
        welcome = Welcome(protocol=PROTOCOL_VERSION, node=self._node, credit=self._credit)
        self.hub.send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        self._tell_status()

    def _tell_status(self) -> None:
        assert self._stage is not None
        status = {
            "model": self._stage.model_json(),
            "node": self._node,
            "pid": os.getpid(),
            "position": self._stage.position,
            "restoring": self._restoring,
            "swaps": self._stage.swaps,
            "retired": self._stage.retired_json(),
            "snapshot_faults": (*self._faults, *self._shared_faults),
        }
        envelope = Envelope(kind=Envelope.TELL, subject="status")
        for peer in self._routers:
            self.hub.send(peer, envelope, orjson.dumps(status))

    def _score_held(self) -> None:
        held, self._held = self._held, deque()
        for item in held:
            self._handle(item)

    def _handle(self, item: _Held) -> None:
        if self._restoring:
            self._held.append(item)
            return
        question = item.frame.envelope
        if time.monotonic() > item.deadline:
            self._refuse(item, FailureCode.DEADLINE_EXCEEDED, "the deadline passed in the queue")
            return
        try:
            if question.kind == Envelope.SCORE:
                records = decode_records(item.frame.payload, question.count)
                self._due.append(_Due(item, records))
            else:
                self._answer_state(item)
        except NoModel as error:
            self._refuse(item, error.code, str(error))
        except ProtocolError as error:
            self._refuse(item, FailureCode.INVALID_REQUEST, str(error))

    def _score(self, run: list[_Due]) -> None:
        assert self._stage is not None
        if self._restoring:
            self._held.extend(due.item for due in run)
            return
        try:
            batches = [due.records for due in run]
            encoding, is_probe = run[0].kind
            replies = self._stage.score(batches, json=encoding == JSON, counts=not is_probe)
        except NoModel as error:
            self._refuse_all(run, error.code, str(error))
        except ModelBroken as error:
            self._held.extend(due.item for due in run)
            self._broken(str(error))
        except Exception as error:  # the border of a request; the asker is told
            if len(run) > 1:  # only the one at fault shall fail
                for due in run:
                    self._score([due])
                return
            log.exception("a batch could not be scored", shard=str(self._shard))
            self._refuse_all(run, FailureCode.INTERNAL, f"{type(error).__name__}: {error}")
        else:
            for due, reply in zip(run, replies, strict=True):
                self._reply(due.item, Envelope.SCORED, reply.SerializeToString())

    def _answer_state(self, item: _Held) -> None:
        assert self._stage is not None
        state = {**self._stage.state_json(), "node": self._node}
        if wants_sketches(item.frame.payload):
            state |= self._stage.merging_json() | {"pid": os.getpid()}
        self._reply(item, Envelope.ANSWER, orjson.dumps(state))

    def _refuse_all(self, run: list[_Due], code: FailureCode, message: str) -> None:
        for due in run:
            self._refuse(due.item, code, message)

    def _refuse(self, item: _Held, code: FailureCode, message: str) -> None:
        self._reply(item, Envelope.FAILURE, Failure(code=code, message=message).SerializeToString())

    def _reply(self, item: _Held, kind: Envelope.Kind, payload: bytes) -> None:
        assert self._stage is not None
        number = item.frame.envelope.correlation_id
        position = self._stage.position if kind == Envelope.SCORED else 0
        envelope = Envelope(kind=kind, correlation_id=number, position=position)
        self.hub.send(item.peer, envelope, payload)


def _runs(due: Iterable[_Due], most: int) -> Iterator[list[_Due]]:
    """Yield the batches that can go through the model together: at most `most` records if several."""
    run: list[_Due] = []
    count = 0
    for each in due:
        if run and (count + len(each.records) > most or each.kind != run[0].kind):
            yield run
            run, count = [], 0
        run.append(each)
        count += len(each.records)
    if run:
        yield run
