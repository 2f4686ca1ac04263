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
from repertory.actors.messages import ClearStage, ModelStaged, StageModel, StagingFailed
from repertory.actors.reports import Reports
from repertory.actors.target import Job, Target
from repertory.config import DataType
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure, Hello, Welcome

# Questions that are passed on to the keeper.
KEEPER_SUBJECTS = frozenset({"publish", "retire", "rollback", "versions"})


@dataclass(frozen=True, slots=True)
class Send:
    """Instruction: send a frame to a peer."""

    peer: int
    envelope: Envelope
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Stage:
    """Instruction: have a serving actor load a version, or serve none. Repeated until acked."""

    message: StageModel | ClearStage


@dataclass(slots=True)
class _Staging:
    message: StageModel | ClearStage
    keeper: int
    number: int  # correlation id of the keeper's question
    before: "_Staging | None"  # the last one that succeeded: what counts again if this one fails
    answered: bool = False  # the keeper knows what became of it
    acknowledged: bool = False  # by the serving actor that is there now


@dataclass(slots=True)
class _Shard:
    target: Target
    config: DataType
    status: dict[str, Any] = field(default_factory=dict)  # what the serving actor told last
    staging: _Staging | None = None

    @property
    def serving(self) -> bool:
        return self.target.peer is not None and self.status.get("model") is not None


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
        self._shards = {
            name: _Shard(Target(name, window=config.credit), config)
            for name, config in data_types.items()
        }
        self._credit = min(config.credit for config in data_types.values())
        self._keeper = Target("keeper", window=0)  # it is sent questions, never batches
        self._clients: dict[int, _Client] = {}
        self._serving: dict[int, _Shard] = {}
        self._reports = Reports(reporting)
        self.outbox: list[Send | Stage] = []

    # --- peers come and go

    def connected(self, peer: int) -> None:
        """Note a client that came in through the router's door."""
        self._clients[peer] = _Client()

    def serving_up(self, data_type: str, peer: int) -> None:
        """Note that the serving actor of a data type listens, and give it what waits for it."""
        shard = self._shards[data_type]
        shard.target.peer = peer
        self._serving[peer] = shard
        if shard.staging is not None:
            # Also what its predecessor had: it may have come back from an older snapshot.
            shard.staging.acknowledged = False
            self.outbox.append(Stage(shard.staging.message))
        self._dispatch(shard.target)

    def closed(self, peer: int) -> None:
        """Note that a peer is gone; a serving actor's batches wait for its successor."""
        if self._clients.pop(peer, None) is not None:
            self._reports.gone(peer)
            for target in self._targets():
                target.forget_client(peer)
            if peer == self._keeper.peer:
                self._keeper.lost()
            return
        shard = self._serving.pop(peer, None)
        if shard is None or shard.target.peer != peer:
            return
        for job in shard.target.lost():
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

    def stuck(self, seconds: float) -> list[tuple[str, int]]:
        """Return data types (and peers) whose serving actor has not answered for `seconds`."""
        before = self._clock() - seconds
        return [
            (name, shard.target.peer)
            for name, shard in self._shards.items()
            if shard.target.peer is not None
            and (sent := shard.target.oldest_flying()) is not None
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

    def staged(self, fact: ModelStaged | StagingFailed) -> None:
        """Take a serving actor's answer to a staging, and pass it on to the keeper."""
        shard = self._shards[fact.data_type]
        staging, staged = shard.staging, isinstance(fact, ModelStaged)
        if staging is None or staging.message.position != fact.position:
            return
        staging.acknowledged = True
        if not staging.answered:
            staging.answered = True
            self._answer(staging.keeper, staging.number, {"staged": staged, **asdict(fact)})
        if not staged:
            shard.staging = staging.before

    def unacknowledged(self) -> list[StageModel | ClearStage]:
        """Return the stagings that no serving actor has answered yet: they are sent again."""
        return [
            shard.staging.message
            for shard in self._shards.values()
            if shard.staging is not None and not shard.staging.acknowledged
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
        shard = self._shard_of(job)
        client = self._clients.get(peer)
        if shard is None or client is None:
            return
        if client.batches[shard.target.name] >= shard.config.credit:
            self._refuse(
                job, FailureCode.OVERLOADED, f"the credit of {shard.config.credit} is used"
            )
            return
        client.batches[shard.target.name] += 1
        shard.target.add(job)
        self._dispatch(shard.target)

    def _ask(self, peer: int, frame: Frame) -> None:
        job = self._job(peer, frame)
        subject, number = frame.envelope.subject, frame.envelope.correlation_id
        if subject in KEEPER_SUBJECTS:
            self._keeper.add(job)
            self._dispatch(self._keeper)
        elif subject == "state":
            if (shard := self._shard_of(job)) is not None:
                shard.target.add(job)
                self._dispatch(shard.target)
        elif subject == "stage":
            self._stage(peer, number, StageModel(**orjson.loads(frame.payload)))
        elif subject == "clear":
            self._stage(peer, number, ClearStage(**orjson.loads(frame.payload)))
        elif subject == "models":
            self._answer(peer, number, {"models": self._models()})
        elif subject == "health":
            self._answer(peer, number, self._health())
        elif subject == "status":
            self._answer(peer, number, self._status())
        elif subject == "metrics":
            self._answer(peer, number, {"texts": self._reports.texts()})
        else:
            self._refuse(job, FailureCode.INVALID_REQUEST, f"nobody answers {subject!r}")

    def _told(self, peer: int, frame: Frame) -> None:
        if (shard := self._serving.get(peer)) is not None:
            shard.status = orjson.loads(frame.payload)
        elif frame.envelope.subject == "metrics":
            self._reports.measured(peer, orjson.loads(frame.payload).get("exposition", ""))
        else:
            self._reports.reported(peer, orjson.loads(frame.payload), self._clock())

    def _reply(self, peer: int, frame: Frame) -> None:
        shard = self._serving.get(peer)
        target = shard.target if shard is not None else self._keeper
        if target.peer != peer:
            return
        job = target.finish(frame.envelope.correlation_id)
        if job is not None:
            self._pass_back(job, frame.envelope.kind, frame.payload)
        self._dispatch(target)

    # --- stagings

    def _stage(self, keeper: int, number: int, message: StageModel | ClearStage) -> None:
        shard = self._shards.get(message.data_type)
        if shard is None:
            self._failure(
                keeper, number, FailureCode.UNKNOWN_DATA_TYPE, self._unknown(message.data_type)
            )
            return
        last = shard.staging
        before = last if last is None or last.answered else last.before
        shard.staging = _Staging(message, keeper, number, before)
        self.outbox.append(Stage(message))

    # --- answers about the node

    def _models(self) -> list[dict[str, Any]]:
        return [shard.status["model"] for shard in self._shards.values() if shard.serving]

    def _health(self) -> dict[str, Any]:
        waiting_for = [
            name
            for name, shard in self._shards.items()
            if shard.config.required and not shard.serving
        ]
        troubles = self._reports.troubles(self._clock())
        return {
            "ready": not waiting_for and not troubles,
            "node": self._node,
            "waiting_for": waiting_for,
            "troubles": troubles,
        }

    def _status(self) -> dict[str, Any]:
        data_types = {
            name: {
                "serving": shard.serving,
                "waiting": shard.target.waiting,
                "in_flight": shard.target.flying,
                **shard.status,
            }
            for name, shard in self._shards.items()
        }
        return {
            **self._health(),
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "keeper": self._keeper.peer is not None,
            "data_types": data_types,
            "faces": self._reports.by_name(),
        }

    # --- sending

    def _targets(self) -> list[Target]:
        return [*(shard.target for shard in self._shards.values()), self._keeper]

    def _job(self, peer: int, frame: Frame) -> Job:
        budget = frame.envelope.budget_ms
        deadline = self._clock() + budget / 1000 if budget else math.inf
        return Job(peer, frame, deadline)

    def _shard_of(self, job: Job) -> _Shard | None:
        data_type = job.frame.envelope.data_type
        shard = self._shards.get(data_type)
        if shard is None:
            self._refuse(job, FailureCode.UNKNOWN_DATA_TYPE, self._unknown(data_type))
        return shard

    def _unknown(self, data_type: str) -> str:
        known = ", ".join(sorted(self._shards))
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
