"""What a router does, without any socket or actor: events in, instructions out.

The shell in router.py feeds it frames and carries out its `outbox`.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from repertory.actors.frames import PROTOCOL_VERSION, Frame
from repertory.actors.messages import (
    ClearStage,
    ModelStaged,
    PolicyFailed,
    PolicySet,
    SetPolicy,
    Shard,
    StageModel,
    StagingFailed,
)
from repertory.actors.reports import Reports
from repertory.actors.shards import ShardActor, Shards, Staging, Update
from repertory.actors.target import Job, Target
from repertory.config import DataType
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure, Hello, Welcome

# Questions that are passed on to the keeper.
KEEPER_SUBJECTS = frozenset(
    {"publish", "retire", "rollback", "versions", "policy", "policies", "policy_rollback"}
)
# Questions that are passed on to the actor of a shard.
SHARD_SUBJECTS = frozenset({"state", "comparison"})
# What the keeper has done: the message that it is turned into.
UPDATES: Mapping[str, type[Update]] = {
    "stage": StageModel,
    "clear": ClearStage,
    "set_policy": SetPolicy,
}
# The peer that replies go to which nobody waits for.
NOBODY = 0
# A slot that no policy names any more has so long to finish what it has in hand.
GRACE_SECONDS = 3.0
VERDICT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """Instruction: send a frame to a peer."""

    peer: int
    envelope: Envelope
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class BringUp:
    """Instruction: have an actor for a shard, from now on."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class End:
    """Instruction: end the actor of a shard, which nobody needs any more."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class Stage:
    """Instruction: have a shard's actor do as the message says. Repeated until acked."""

    shard: Shard
    message: Update


@dataclass(frozen=True, slots=True)
class Keep:
    """Instruction: remember a policy over restarts; one without settings: that there is none."""

    message: SetPolicy


Instruction = Send | BringUp | End | Stage | Keep


@dataclass(slots=True)
class _Client:
    batches: Counter[str] = field(default_factory=Counter)  # in hand here, by data type


class RouterCore:
    """Forwards batches and questions, keeps what is in flight, and answers for the node.

    The node is not ready unless a client of each role in `reporting` tells that it is well.
    """

    def __init__(
        self,
        node: str,
        incarnation: str,
        data_types: Mapping[str, DataType],
        *,
        reporting: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._clock = clock
        self._data_types = data_types
        self._shards = Shards(data_types)
        self._credit = min(config.credit for config in data_types.values())
        self._keeper = Target("keeper", window=0)  # it is sent questions, never batches
        self._clients: dict[int, _Client] = {}
        self._actors: dict[int, ShardActor] = {}  # by peer
        self._reports = Reports(reporting)
        self.outbox: list[Instruction] = [BringUp(shard) for shard in self._shards.actors]

    def restore(self, policy: SetPolicy) -> None:
        """Put a policy in force that was so before a restart. Raises InvalidRequest."""
        actor = self._bring_up(Shard(policy.data_type, is_policy=True))
        actor.staging = Staging(policy, NOBODY, 0, None, answered=True)
        self._put_in_force(policy)

    # --- peers come and go

    def connected(self, peer: int) -> None:
        """Note a client that came in through the router's door."""
        self._clients[peer] = _Client()

    def shard_up(self, shard: Shard, peer: int) -> None:
        """Note that the actor of a shard listens, and give it what waits for it."""
        actor = self._shards.actors.get(shard)
        if actor is None:
            return  # it was ended meanwhile
        actor.target.peer = peer
        self._actors[peer] = actor
        if actor.staging is not None:
            # Also what its predecessor had: it may have come back from an older snapshot.
            actor.staging.acknowledged = False
            self.outbox.append(Stage(shard, actor.staging.message))
        self._dispatch(actor.target)

    def closed(self, peer: int) -> None:
        """Note that a peer is gone; a serving actor's batches wait for its successor."""
        if self._clients.pop(peer, None) is not None:
            self._reports.gone(peer)
            for target in self._targets():
                target.forget_client(peer)
            if peer == self._keeper.peer:
                self._keeper.lost()
            return
        actor = self._actors.pop(peer, None)
        if actor is None or actor.target.peer != peer:
            return
        actor.status.pop("model", None)
        for job in actor.target.lost():
            self._fail(
                job,
                FailureCode.INTERNAL,
                f"the serving actor died {job.attempts} times with this batch in flight",
            )

    def tick(self) -> None:
        """Answer what waited past its deadline. To be called some ten times a second."""
        now = self._clock()
        for target in self._targets():
            for job in target.expire(now):
                self._late(job, target)
            self._dispatch(target)
        self._end_unneeded(now)

    def stuck(self, seconds: float) -> list[tuple[Shard, int]]:
        """Return shards (and peers) whose actor has not answered for `seconds`."""
        before = self._clock() - seconds
        return [
            (shard, actor.target.peer)
            for shard, actor in self._shards.actors.items()
            if actor.target.peer is not None
            and (sent := actor.target.oldest_flying()) is not None
            and sent < before
        ]

    # --- frames

    def arrived(self, peer: int, frame: Frame) -> None:
        """Take a frame from any peer."""
        kind = frame.envelope.kind
        if kind == Envelope.SCORE:
            self._score(peer, frame)
        elif kind in (Envelope.SCORED, Envelope.ANSWER, Envelope.FAILURE):
            self._reply(peer, frame)
        elif kind == Envelope.ASK:
            self._ask(peer, frame)
        elif kind == Envelope.TELL:
            self._told(peer, frame)
        elif kind == Envelope.HELLO and peer in self._clients:
            self._greet(peer, Hello.FromString(frame.payload))

    def staged(self, fact: ModelStaged | StagingFailed | PolicySet | PolicyFailed) -> None:
        """Take an actor's answer to a staging, and pass it on to the keeper."""
        if isinstance(fact, PolicySet | PolicyFailed):
            shard = Shard(fact.data_type, is_policy=True)
        else:
            shard = Shard(fact.data_type, fact.slot)
        actor = self._shards.actors.get(shard)
        staging = None if actor is None else actor.staging
        if actor is None or staging is None or staging.message.position != fact.position:
            return
        staged = isinstance(fact, ModelStaged | PolicySet)
        staging.acknowledged = True
        if staged and isinstance(staging.message, SetPolicy):
            self._put_in_force(staging.message)
        if not staging.answered:
            staging.answered = True
            self._answer(staging.keeper, staging.number, {"staged": staged, **asdict(fact)})
        if not staged:
            actor.staging = staging.before

    def unacknowledged(self) -> list[Stage]:
        """Return the stagings that no actor has answered yet: they are sent again."""
        return [
            Stage(shard, actor.staging.message)
            for shard, actor in self._shards.actors.items()
            if actor.staging is not None and not actor.staging.acknowledged
        ]

    def _greet(self, peer: int, hello: Hello) -> None:
        self._reports.greeted(peer, role=hello.role, name=hello.name, pid=hello.pid)
        welcome = Welcome(
            protocol=PROTOCOL_VERSION,
            node=self._node,
            incarnation=self._incarnation,
            credit=self._credit,
        )
        self.outbox.append(Send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString()))
        if hello.role == "keeper":
            self._keeper.lost()
            self._keeper.peer = peer
            self._dispatch(self._keeper)

    def _score(self, peer: int, frame: Frame) -> None:
        job = self._job(peer, frame)
        actor = self._front_of(job)
        client = self._clients.get(peer)
        if actor is None or client is None:
            return
        data_type, credit = frame.envelope.data_type, actor.config.credit
        if client.batches[data_type] >= credit:
            self._refuse(job, FailureCode.OVERLOADED, f"the credit of {credit} is used")
            return
        client.batches[data_type] += 1
        actor.target.add(job)
        self._dispatch(actor.target)

    def _ask(self, peer: int, frame: Frame) -> None:
        job = self._job(peer, frame)
        subject, number = frame.envelope.subject, frame.envelope.correlation_id
        if subject in KEEPER_SUBJECTS:
            self._keeper.add(job)
            self._dispatch(self._keeper)
        elif subject in SHARD_SUBJECTS:
            if (actor := self._asked_about(job)) is not None:
                actor.target.add(job)
                self._dispatch(actor.target)
        elif subject in UPDATES:
            self._stage(peer, number, UPDATES[subject](**orjson.loads(frame.payload)))
        elif subject == "trim":
            self._note_unneeded()
            self._answer(peer, number, {})
        elif subject == "models":
            self._answer(peer, number, {"models": self._shards.models_json()})
        elif subject == "health":
            self._answer(peer, number, self._health())
        elif subject == "status":
            self._answer(peer, number, self._status())
        elif subject == "metrics":
            self._answer(peer, number, {"texts": self._reports.texts()})
        else:
            self._refuse(job, FailureCode.INVALID_REQUEST, f"nobody answers {subject!r}")

    def _told(self, peer: int, frame: Frame) -> None:
        actor = self._actors.get(peer)
        if actor is not None and frame.envelope.subject == "verdict":
            self._pass_on(actor.shard.data_type, frame)
        elif actor is not None:
            actor.status = orjson.loads(frame.payload)
        elif frame.envelope.subject == "metrics":
            self._reports.measured(peer, orjson.loads(frame.payload).get("exposition", ""))
        else:
            self._reports.reported(peer, orjson.loads(frame.payload), self._clock())

    def _reply(self, peer: int, frame: Frame) -> None:
        actor = self._actors.get(peer)
        target = actor.target if actor is not None else self._keeper
        if target.peer != peer:
            return
        job = target.finish(frame.envelope.correlation_id)
        if job is not None:
            self._pass_back(job, frame.envelope.kind, frame.payload)
        self._dispatch(target)

    # --- stagings

    def _stage(self, keeper: int, number: int, message: Update) -> None:
        if message.data_type not in self._data_types:
            why = self._unknown(message.data_type)
            self._failure(keeper, number, FailureCode.UNKNOWN_DATA_TYPE, why)
            return
        if isinstance(message, SetPolicy):
            in_force = self._shards.policies.get(message.data_type)
            older = in_force is not None and in_force.message.position > message.position
            if older or not message.settings:
                if not older:
                    self._put_in_force(message)
                self._answer(keeper, number, {"staged": True})
                return
            shard = Shard(message.data_type, is_policy=True)
        else:
            shard = Shard(message.data_type, message.slot)
        actor = self._bring_up(shard)
        last = actor.staging
        before = last if last is None or last.answered else last.before
        actor.staging = Staging(message, keeper, number, before)
        self.outbox.append(Stage(shard, message))

    def _put_in_force(self, message: SetPolicy) -> None:
        self._shards.put_in_force(message)
        self.outbox.append(Keep(message))
        if (policy := self._shards.policies.get(message.data_type)) is not None:
            for slot in policy.names:
                self._bring_up(Shard(message.data_type, slot))
        self._note_unneeded()
        if (front := self._shards.front(message.data_type)) is not None:
            self._dispatch(front.target)

    def _bring_up(self, shard: Shard) -> ShardActor:
        if shard not in self._shards.actors:
            self.outbox.append(BringUp(shard))
        actor = self._shards.add(shard)
        actor.unneeded_since = None
        return actor

    def _note_unneeded(self) -> None:
        for actor in self._shards.unneeded():
            if actor.unneeded_since is None:
                actor.unneeded_since = self._clock()

    def _end_unneeded(self, now: float) -> None:
        for shard, actor in list(self._shards.actors.items()):
            since = actor.unneeded_since
            if since is None or now - since < GRACE_SECONDS or actor.target.flying:
                continue
            del self._shards.actors[shard]
            if actor.target.peer is not None:
                self._actors.pop(actor.target.peer, None)
            self.outbox.append(End(shard))

    def _pass_on(self, data_type: str, frame: Frame) -> None:
        """Have the keeper journal the policy that follows from a canary's trial."""
        envelope = Envelope(kind=Envelope.ASK, subject="policy", data_type=data_type)
        deadline = self._clock() + VERDICT_SECONDS
        self._keeper.add(Job(NOBODY, Frame(envelope, frame.payload), deadline))
        self._dispatch(self._keeper)

    # --- answers about the node

    def _health(self) -> dict[str, Any]:
        waiting_for = self._shards.required_without_model()
        troubles = self._reports.troubles(self._clock())
        if policies := self._shards.troubles():
            troubles["policy"] = policies
        return {
            "ready": not waiting_for and not troubles,
            "node": self._node,
            "waiting_for": waiting_for,
            "troubles": troubles,
        }

    def _status(self) -> dict[str, Any]:
        return {
            **self._health(),
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "keeper": self._keeper.peer is not None,
            "data_types": self._shards.status_json(),
            "faces": self._reports.by_name(),
        }

    # --- sending

    def _targets(self) -> list[Target]:
        return [*(actor.target for actor in self._shards.actors.values()), self._keeper]

    def _job(self, peer: int, frame: Frame) -> Job:
        budget = frame.envelope.budget_ms
        deadline = self._clock() + budget / 1000 if budget else math.inf
        return Job(peer, frame, deadline)

    def _front_of(self, job: Job) -> ShardActor | None:
        data_type = job.frame.envelope.data_type
        actor = self._shards.front(data_type)
        if actor is None:
            self._refuse(job, FailureCode.UNKNOWN_DATA_TYPE, self._unknown(data_type))
        return actor

    def _asked_about(self, job: Job) -> ShardActor | None:
        """Return who answers a question: the actor of the slot that it names, or whoever is in front."""
        front, data_type = self._front_of(job), job.frame.envelope.data_type
        if front is None:
            return None
        slot = orjson.loads(job.frame.payload).get("slot")
        if slot is None and (front.shard.is_policy or job.frame.envelope.subject == "state"):
            return front
        actor = None if slot is None else self._shards.actors.get(Shard(data_type, str(slot)))
        if actor is None:
            what = "policy" if slot is None else f"slot {slot!r}"
            self._refuse(job, FailureCode.NOT_FOUND, f"{data_type!r} has no {what}")
        return actor

    def _unknown(self, data_type: str) -> str:
        known = ", ".join(sorted(self._data_types))
        return f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"

    def _dispatch(self, target: Target) -> None:
        now = self._clock()
        for number, job in target.dispatch(now):
            assert target.peer is not None
            left = job.deadline - now
            if left <= 0:
                target.finish(number)
                self._late(job, target)
                continue
            envelope = Envelope()
            envelope.CopyFrom(job.frame.envelope)
            envelope.correlation_id = number
            envelope.budget_ms = 0 if left == math.inf else max(1, int(left * 1000))
            self.outbox.append(Send(target.peer, envelope, job.frame.payload))

    def _pass_back(self, job: Job, kind: Envelope.Kind, payload: bytes) -> None:
        client = self._clients.get(job.client)
        if client is None:
            return  # it is gone
        if job.is_batch:
            client.batches[job.frame.envelope.data_type] -= 1
        envelope = Envelope(kind=kind, correlation_id=job.frame.envelope.correlation_id)
        self.outbox.append(Send(job.client, envelope, payload))

    def _fail(self, job: Job, code: FailureCode, message: str) -> None:
        self._pass_back(
            job, Envelope.FAILURE, Failure(code=code, message=message).SerializeToString()
        )

    def _late(self, job: Job, target: Target) -> None:
        self._fail(job, FailureCode.DEADLINE_EXCEEDED, f"{target.name} was not free in time")

    def _refuse(self, job: Job, code: FailureCode, message: str) -> None:
        # Unlike `_fail`, for a job that was never counted against its client's credit.
        self._failure(job.client, job.frame.envelope.correlation_id, code, message)

    def _failure(self, peer: int, number: int, code: FailureCode, message: str) -> None:
        envelope = Envelope(kind=Envelope.FAILURE, correlation_id=number)
        payload = Failure(code=code, message=message).SerializeToString()
        self.outbox.append(Send(peer, envelope, payload))

    def _answer(self, peer: int, number: int, data: Mapping[str, Any]) -> None:
        envelope = Envelope(kind=Envelope.ANSWER, correlation_id=number)
        self.outbox.append(Send(peer, envelope, orjson.dumps(data)))
