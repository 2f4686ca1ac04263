"""What a router does, without any socket or actor: events in, instructions out.

The shell in router.py feeds it frames and carries out its `outbox`.
"""

import time
from collections.abc import Callable, Collection

import orjson
import structlog

from repertory.actors.cluster import Cluster, Link
from repertory.actors.desk import Client, Desk
from repertory.actors.frames import PROTOCOL_VERSION, Frame
from repertory.actors.handover import Handover
from repertory.actors.heart import Heart, read_beat
from repertory.actors.instructions import Drop, Instruction, Stage
from repertory.actors.membership import Change, MemberState
from repertory.actors.messages import (
    ModelStaged,
    PolicyFailed,
    PolicySet,
    SetPolicy,
    Shard,
    StagingFailed,
)
from repertory.actors.ownership import Ownership
from repertory.actors.questions import Questions
from repertory.actors.reports import Reports
from repertory.actors.routes import Routes
from repertory.actors.shards import ShardActor, Shards
from repertory.actors.short_ways import ShortWays
from repertory.actors.stager import NOBODY, UPDATES, Stager
from repertory.actors.target import Job, Target
from repertory.config import ClusterConfig
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Hello, Welcome

VERDICT_SECONDS = 60.0

log = structlog.get_logger(__name__)


class RouterCore:
    """Takes frames in, and has each of its parts do what is theirs.

    The node is not ready unless a client of each role in `reporting` tells that it is well.
    """

    def __init__(
        self,
        config: ClusterConfig,
        node: str,
        incarnation: str,
        *,
        reporting: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._clock = clock
        self._credit = min(each.credit for each in config.data_types.values())
        self._keeper = Target("keeper", window=0)  # it is sent questions, never batches
        self._actors: dict[int, ShardActor] = {}  # by peer
        self._reports = Reports(reporting)
        self._desk = desk = Desk(clock)
        self._shards = shards = Shards(config.data_types)
        self._cluster = cluster = Cluster(config, node, incarnation, clock)
        self._routes = Routes(
            config,
            cluster,
            shards,
            desk=desk,
            unanswered=lambda job: self._questions.unanswered(job),
        )
        self._short_ways = ShortWays(cluster, shards, desk)
        self._heart = Heart(cluster, shards, desk, seconds=config.cluster.heartbeat_ms / 1000)
        self._stager = Stager(shards, cluster, desk, front_changed=self._front_changed)
        self._ownership = Ownership(
            cluster,
            shards,
            desk,
            stager=self._stager,
            heart=self._heart,
            keeper=self._keeper,
        )
        self._questions = Questions(
            cluster,
            shards,
            desk,
            routes=self._routes,
            keeper=self._keeper,
            reports=self._reports,
            heart=self._heart,
            handover=Handover(
                cluster,
                shards,
                desk,
                ownership=self._ownership,
                seconds=config.cluster.handover_ms / 1000,
            ),
        )
        self._ownership.begin()

    @property
    def outbox(self) -> list[Instruction]:
        """What the shell is to do, oldest first; it takes them away."""
        return self._desk.outbox

    @outbox.setter
    def outbox(self, outbox: list[Instruction]) -> None:
        self._desk.outbox = outbox

    @property
    def fault(self) -> str | None:
        """Why other nodes cannot come in; None: they can, or there are none."""
        return self._cluster.fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        self._cluster.fault = fault

    def restore(self, policy: SetPolicy) -> None:
        """Put a policy in force that was so before a restart. Raises InvalidRequest."""
        if policy.data_type in self._shards.owned:
            self._stager.restore(policy)

    # --- peers come and go

    def connected(self, peer: int, node: str = "") -> None:
        """Note a client that came in: through the router's own door, or another node's router."""
        self._desk.clients[peer] = Client(node)

    def link_up(self, node: str, peer: int, protocol: int) -> None:
        """Note the link to another node's router, and the version of the protocol spoken there."""
        link = Link(peer, protocol)
        self._routes.link_up(node, link)
        self._heart.beat(link)

    def link_down(self, node: str) -> None:
        """Note that the link to another node's router is gone."""
        self._routes.link_down(node)

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
        self._desk.dispatch(actor.target)

    def closed(self, peer: int) -> None:
        """Note that a peer is gone; a serving actor's batches wait for its successor."""
        if self._desk.clients.pop(peer, None) is not None:
            self._reports.gone(peer)
            self._short_ways.gone(peer)
            for target in self._targets():
                target.forget_client(peer)
            self._routes.forget_client(peer)
            if peer == self._keeper.peer:
                self._keeper.lost()
            return
        actor = self._actors.pop(peer, None)
        if actor is None or actor.target.peer != peer:
            return
        actor.status.pop("model", None)
        self._short_ways.tell()
        for job in actor.target.lost():
            self._desk.fail(
                job,
                FailureCode.INTERNAL,
                f"the serving actor died {job.attempts} times with this batch in flight",
            )
        self._routes.release()

    def tick(self) -> None:
        """Do what is due. To be called some ten times a second."""
        now = self._clock()
        for target in self._targets():
            for job in target.expire(now):
                self._desk.late(job, target.name)
            self._desk.dispatch(target)
        if not self._cluster.alone:
            self._members_changed(self._cluster.tick())
            self._routes.release()
        self._routes.tick(now)
        self._ownership.tick()
        self._questions.tick()
        self._heart.tick()
        self._short_ways.tell()

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
        elif kind == Envelope.HELLO and peer in self._desk.clients:
            self._greet(peer, Hello.FromString(frame.payload))

    def staged(self, fact: ModelStaged | StagingFailed | PolicySet | PolicyFailed) -> None:
        """Take an actor's answer to a staging."""
        self._stager.staged(fact)

    def unacknowledged(self) -> list[Stage]:
        """Return the stagings that no actor has answered yet: they are sent again."""
        return self._stager.unacknowledged()

    def _greet(self, peer: int, hello: Hello) -> None:
        self._reports.greeted(peer, role=hello.role, name=hello.name, pid=hello.pid)
        welcome = Welcome(
            protocol=PROTOCOL_VERSION,
            node=self._node,
            incarnation=self._cluster.incarnation,
            credit=self._credit,
        )
        self._desk.send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        if hello.role == "http":
            self._short_ways.greeted(peer)
        if hello.role == "keeper":
            self._keeper.lost()
            self._keeper.peer = peer
            self._desk.dispatch(self._keeper)

    def _score(self, peer: int, frame: Frame) -> None:
        client, data_type = self._desk.clients.get(peer), frame.envelope.data_type
        if client is None:
            return
        job = self._desk.job(peer, frame)
        if (why := self._shards.undeclared(data_type)) is not None:
            self._desk.refuse(job, FailureCode.UNKNOWN_DATA_TYPE, why)
            return
        credit = self._shards.config(data_type).credit
        if client.batches[data_type] >= credit:
            self._desk.refuse(job, FailureCode.OVERLOADED, f"the credit of {credit} is used")
            return
        client.batches[data_type] += 1
        if client.node:
            frame.envelope.forwarded = True
            self._routes.route_here(job)
        else:
            self._routes.route(job)

    def _ask(self, peer: int, frame: Frame) -> None:
        job = self._desk.job(peer, frame)
        client, subject = self._desk.clients.get(peer), frame.envelope.subject
        if client is None:
            return
        if client.node:
            frame.envelope.forwarded = True  # whatever it says itself
        if subject in UPDATES and not client.node:
            self._stage(job)
        elif subject == "trim" and not client.node:
            self._ownership.note_unneeded()
            self._desk.answer(peer, frame.envelope.correlation_id, {})
        else:
            self._questions.ask(job)

    def _stage(self, job: Job) -> None:
        message = UPDATES[job.frame.envelope.subject](**orjson.loads(job.frame.payload))
        if (why := self._shards.undeclared(message.data_type)) is not None:
            self._desk.refuse(job, FailureCode.UNKNOWN_DATA_TYPE, why)
        else:
            self._stager.stage(job.client, job.frame.envelope.correlation_id, message)

    def _told(self, peer: int, frame: Frame) -> None:
        actor, client = self._actors.get(peer), self._desk.clients.get(peer)
        subject = frame.envelope.subject
        if actor is not None and subject == "verdict":
            self._pass_on(actor.shard.data_type, frame)
        elif actor is not None:
            actor.status = orjson.loads(frame.payload)
            self._short_ways.tell()
            self._routes.retry()
            self._heart.tick()
        elif client is not None and client.node:
            self._node_told(client.node, frame)
        elif subject == "metrics":
            self._reports.measured(peer, orjson.loads(frame.payload).get("exposition", ""))
        elif subject == "floor":
            for data_type, position in orjson.loads(frame.payload)["positions"].items():
                self._cluster.raise_floor(data_type, position)
        else:
            self._reports.reported(peer, orjson.loads(frame.payload), self._clock())

    def _node_told(self, node: str, frame: Frame) -> None:
        if frame.envelope.subject == "beat":
            self._members_changed(self._cluster.heard(read_beat(frame.payload, node)))
            self._routes.retry()
        elif frame.envelope.subject == "gone":
            self._members_changed(self._cluster.gone(node))

    def _reply(self, peer: int, frame: Frame) -> None:
        if self._routes.replied(peer, frame):
            return
        actor = self._actors.get(peer)
        target = actor.target if actor is not None else self._keeper
        if target.peer != peer:
            return
        job = target.finish(frame.envelope.correlation_id)
        if job is not None and job.is_batch:
            self._routes.scored(job, frame)
        elif job is not None:
            self._desk.pass_back(job, frame.envelope.kind, frame.payload)
        self._desk.dispatch(target)

    # --- what follows

    def _members_changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.after in (MemberState.SUSPECT, MemberState.DOWN):
                self._routes.link_down(change.node)
                self.outbox.append(Drop(change.node, change.reason))
        if changes:
            self._ownership.changed()
            self._routes.retry()

    def _front_changed(self, data_type: str) -> None:
        self._short_ways.tell()
        self._ownership.note_unneeded()
        if (front := self._shards.front(data_type)) is not None:
            self._desk.dispatch(front.target)

    def _pass_on(self, data_type: str, frame: Frame) -> None:
        """Have the keeper journal the policy that follows from a canary's trial."""
        envelope = Envelope(kind=Envelope.ASK, subject="policy", data_type=data_type)
        deadline = self._clock() + VERDICT_SECONDS
        self._keeper.add(Job(NOBODY, Frame(envelope, frame.payload), deadline))
        self._desk.dispatch(self._keeper)

    def _targets(self) -> list[Target]:
        return [*(actor.target for actor in self._shards.actors.values()), self._keeper]
