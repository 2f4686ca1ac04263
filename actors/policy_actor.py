"""PolicyActor: stands before the slots of a data type, and decides whose answer each record gets.

This is the shell round PolicyCore: it owns the door, the connections to the slots, and the alarm
that rings at the next deadline.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog
from thespian.actors import ActorAddress, ActorExitRequest

from repertory.actors.alarm import Alarm
from repertory.actors.decoy_spool import DecoyEntry, DecoySpool
from repertory.actors.door_actor import DoorActor, kill
from repertory.actors.frames import PROTOCOL_VERSION, Frame
from repertory.actors.hub import Arrived, Closed, Event
from repertory.actors.logs import set_up_logging
from repertory.actors.messages import (
    Adopted,
    PolicyFailed,
    PolicySet,
    SetPolicy,
    Shard,
    StartServing,
)
from repertory.actors.policies.active import ActivePolicy, Verdicts
from repertory.actors.policies.records import FieldReader
from repertory.actors.policies.settings import read_settings
from repertory.actors.policy_core import STUCK_SECONDS, PolicyCore
from repertory.actors.sketches import wants_sketches
from repertory.actors.sole import Sole
from repertory.actors.wire import unpack_address
from repertory.config import MEBIBYTE, ClusterConfig, NodePaths
from repertory.errors import FailureCode, InvalidRequest
from repertory.protos.door_pb2 import Envelope, Failure, Hello, Welcome
from repertory.protos.loading import load_message

# A predecessor that was killed frees its lock at once; one that is only slow to end gets this long.
LOCK_SECONDS = 5.0
# A policy begins when all its slots are there, or after so long.
SLOTS_SECONDS = 3.0
# How often a trial is looked at, and the router told how the policy does.
TELL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class _Call(NamedTuple):
    slot: str
    since: float  # monotonic seconds


class PolicyActor(DoorActor):
    """Starter and collector of one data type.

    There is one for each data type with a policy: it holds a lock for as long as it lives. It keeps
    nothing on disk; its router tells it the policy, and sends again what it had in hand if it dies.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shard = Shard("", is_policy=True)
        self._node = ""
        self._config: ClusterConfig | None = None
        self._paths: NodePaths | None = None
        self._core: PolicyCore | None = None
        self._sole: Sole | None = None
        self._lock_until = 0.0
        self._listening = False
        self._alarm = Alarm()
        self._spool: DecoySpool | None = None
        self._calling: dict[int, _Call] = {}  # by peer: slots that have not greeted back yet
        self._routers: set[int] = set()
        self._router: ActorAddress | None = None
        self._verdict: Verdicts | None = None
        self._told = 0.0
        self._play_until = 0.0

    def control(self, message: Any, sender: ActorAddress) -> None:
        """Handle a Thespian message."""
        if isinstance(message, StartServing):
            self._start(message)
        elif isinstance(message, SetPolicy) and self._core is not None:
            self._router = sender
            self._set_policy(message)

    def happened(self, event: Event) -> None:
        """Handle what happened at a door."""
        assert self._core is not None
        match event:
            case Arrived(peer, frame):
                self._arrived(peer, frame)
            case Closed(peer, reason):
                self._routers.discard(peer)
                self._calling.pop(peer, None)
                if (slot := self._core.closed(peer)) is not None:
                    log.warning("a slot is lost", shard=str(self._shard), slot=slot, why=reason)

    def settle(self) -> None:
        """Answer what is due, send what the core decided, and set the alarm."""
        if self._core is None:
            return
        self._core.due()
        unneeded, self._core.unneeded = self._core.unneeded, []
        for peer in unneeded:
            self.hub.disconnect(peer)
        outbox, self._core.outbox = self._core.outbox, []
        for send in outbox:
            self.hub.send(send.peer, send.envelope, send.payload)
        self._alarm.set(self._core.next_deadline())

    def tick(self) -> None:
        """Open the door, connect to slots that come up, end those that hang, look at the trial."""
        assert self._core is not None
        if not self._listening:
            self._open_door()
        self._core.tick()
        self._call_slots()
        self._play_when_complete()
        for peer in self._hanging():
            if (pid := self.hub.pid(peer)) is not None:
                log.error("a slot hangs; its actor is killed", shard=str(self._shard))
                kill(pid)
        now = time.monotonic()
        if self._spool is not None:
            self._spool.tick()
        if now - self._told > TELL_SECONDS:
            self._told = now
            self._look_at_trial()
            self._tell_status()

    def stop(self) -> None:
        """Free what is held."""
        if self._spool is not None:
            self._spool.close()
        super().stop()
        self._alarm.close()

    # --- coming up

    def _start(self, message: StartServing) -> None:
        if self._core is not None:
            return  # sent again
        self._config, self._node, self._shard = message.config, message.node, message.shard
        set_up_logging(self._config.log_level)
        self._paths = NodePaths(self._config, self._node)
        data_type = self._config.data_types[self._shard.data_type]
        fields = FieldReader(load_message(data_type.message))
        self._core = PolicyCore(self._node, fields, window=data_type.credit, archive=self._archive)
        self._sole = Sole(self._door)
        self._lock_until = time.monotonic() + LOCK_SECONDS
        self.hub.watch(self._alarm.fileno(), self._alarm.stop_ringing)
        self._open_door()
        self.start_ticking()

    @property
    def _door(self) -> Path:
        assert self._paths is not None
        return self._paths.policy_door(self._shard.data_type)

    def _open_door(self) -> None:
        assert self._sole is not None
        if self._sole.taken():
            self.hub.listen(self._door)
            self._listening = True
        elif time.monotonic() > self._lock_until:
            log.warning("another actor does this", shard=str(self._shard))
            self.send(self.myAddress, ActorExitRequest())
            self._lock_until = float("inf")

    # --- the decoy

    def _new_spool(self) -> DecoySpool:
        assert self._config is not None
        assert self._paths is not None
        limit = self._config.decoy.spool_mb * MEBIBYTE
        return DecoySpool(self._paths.decoy / self._shard.data_type, limit_bytes=limit)

    def _archive(self, frame: Frame, answer: bytes) -> None:
        if self._spool is not None:
            envelope = frame.envelope
            entry = DecoyEntry(
                data_type=self._shard.data_type,
                payload=bytes(frame.payload),
                count=envelope.count,
                answer=answer,
                encoding=envelope.encoding,
            )
            self._spool.append(entry)

    # --- the policy

    def _set_policy(self, message: SetPolicy) -> None:
        assert self._core is not None
        newest = self._core.coming or self._core.policy
        if newest is not None and message.position <= newest.position:
            if newest is self._core.policy:
                self._tell_router(PolicySet(message.data_type, message.position))
            return
        try:
            settings = read_settings(message.settings)
            policy = ActivePolicy(settings, position=message.position, since_ms=message.since_ms)
        except InvalidRequest as error:
            why = f"policy {message.position} of {message.data_type!r} cannot be played: {error}"
            log.error("a policy cannot be played", shard=str(self._shard), why=str(error))
            self._core.cannot_play(why)
            self._tell_status()
            self._tell_router(PolicyFailed(message.data_type, message.position, str(error)))
            return
        self._core.prepare(policy)
        self._play_until = time.monotonic() + SLOTS_SECONDS
        self._call_slots()
        self._play_when_complete()

    def _play_when_complete(self) -> None:
        """Begin with all slots; without one that does not come up, which is its failure."""
        assert self._core is not None
        policy = self._core.coming
        if policy is None or not (self._core.is_complete or time.monotonic() > self._play_until):
            return
        if policy.settings.decoy and self._spool is None:
            self._spool = self._new_spool()
        self._core.play()
        self._verdict = None
        log.info("a policy is in force", shard=str(self._shard), version=policy.position)
        self._tell_status()
        self._tell_router(PolicySet(self._shard.data_type, policy.position))

    def _look_at_trial(self) -> None:
        assert self._core is not None
        policy = self._core.policy
        if policy is not None and (verdict := policy.verdict()) is not None:
            self._verdict = verdict
            log.warning(
                "a canary's trial has ended",
                shard=str(self._shard),
                canary=policy.slots[-1],
                verdict=verdict.decision.verdict,
                why=verdict.decision.reason,
            )
        if self._verdict is not None and policy is not None:  # until the journal has it
            self._tell_routers(
                "verdict",
                {
                    "data_type": self._shard.data_type,
                    "settings": self._verdict.settings.model_dump_json(by_alias=True),
                    "description": f"{policy.slots[-1]} was {self._verdict.decision.verdict}:"
                    f" {self._verdict.decision.reason}",
                    "origin": f"trial/{self._shard.data_type}/{policy.position}",
                    "supersedes": policy.position,
                    "wait": False,
                },
            )

    # --- slots

    def _call_slots(self) -> None:
        assert self._core is not None
        assert self._paths is not None
        called = {call.slot for call in self._calling.values()}
        for slot in self._core.wanted():
            if slot in called:
                continue
            peer = self.hub.connect(self._paths.serving_door(self._shard.data_type, slot))
            if peer is not None:
                self._calling[peer] = _Call(slot, time.monotonic())
                hello = Hello(protocol=PROTOCOL_VERSION, role="policy", name=self._node)
                self.hub.send(peer, Envelope(kind=Envelope.HELLO), hello.SerializeToString())

    def _hanging(self) -> Iterator[int]:
        """Yield slots that answer no batch, or not even a greeting."""
        assert self._core is not None
        yield from self._core.stuck()
        before = time.monotonic() - STUCK_SECONDS
        yield from [peer for peer, call in self._calling.items() if call.since < before]

    # --- frames

    def _arrived(self, peer: int, frame: Frame) -> None:
        assert self._core is not None
        kind = frame.envelope.kind
        if kind == Envelope.SCORE:
            self._core.score(peer, frame)
        elif kind in (Envelope.SCORED, Envelope.FAILURE):
            self._core.replied(peer, frame)
        elif kind == Envelope.WELCOME:
            if (call := self._calling.pop(peer, None)) is not None:
                self._core.slot_up(call.slot, peer)
                self._play_when_complete()
        elif kind == Envelope.HELLO:
            self._greet(peer)
        elif kind == Envelope.TELL and frame.envelope.subject == "adopt":
            self._router = unpack_address(frame.payload)
            self.send(self._router, Adopted(self._shard))
        elif kind == Envelope.ASK:
            self._answer(peer, frame)

    def _greet(self, peer: int) -> None:
        self._routers.add(peer)
        welcome = Welcome(protocol=PROTOCOL_VERSION, node=self._node)
        self.hub.send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        self._tell_status()

    def _answer(self, peer: int, frame: Frame) -> None:
        assert self._core is not None
        number, subject = frame.envelope.correlation_id, frame.envelope.subject
        policy = self._core.policy
        about: dict[str, Any] = {"dataType": self._shard.data_type}
        if policy is not None and wants_sketches(frame.payload):
            is_state = subject == "state"
            about["sketches"] = policy.sketches() if is_state else policy.comparison_sketches()
            about["pid"] = os.getpid()
        if subject == "state":
            about |= self._core.state_json()
        elif subject == "comparison":
            about |= self._core.comparison_json()
        else:
            failure = Failure(
                code=FailureCode.INVALID_REQUEST, message=f"nobody answers {subject!r}"
            )
            envelope = Envelope(kind=Envelope.FAILURE, correlation_id=number)
            self.hub.send(peer, envelope, failure.SerializeToString())
            return
        envelope = Envelope(kind=Envelope.ANSWER, correlation_id=number)
        self.hub.send(peer, envelope, orjson.dumps(about))

    def _tell_status(self) -> None:
        assert self._core is not None
        policy = self._core.policy
        status: dict[str, Any] = {"pid": os.getpid(), "node": self._node}
        if (why := self._core.impossible) is not None:
            status["troubles"] = [why]
        if policy is not None:
            status |= {"name": policy.settings.policy, "version": policy.position}
            status |= {"slots": list(policy.slots), "shadows": list(policy.settings.shadows)}
        if self._spool is not None:
            spool = self._spool
            status["decoy"] = {"archived": spool.archived, "dropped": spool.dropped}
            status["warnings"] = [spool.trouble] if spool.trouble else []
        self._tell_routers("status", status)

    def _tell_routers(self, subject: str, data: dict[str, Any]) -> None:
        envelope = Envelope(kind=Envelope.TELL, subject=subject)
        for peer in self._routers:
            self.hub.send(peer, envelope, orjson.dumps(data))

    def _tell_router(self, fact: PolicySet | PolicyFailed) -> None:
        if self._router is not None:
            self.send(self._router, fact)
