"""The router actor: one per node, the only one that callers know.

This is the shell: it owns the door, creates and adopts serving actors, and carries out what
RouterCore decides.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from thespian.actors import ActorAddress, ActorExitRequest, ChildActorExited

from repertory.actors.collector import spare_what_is_here
from repertory.actors.door_actor import DoorActor, kill
from repertory.actors.frames import PROTOCOL_VERSION
from repertory.actors.hub import Arrived, Closed, Connected, Event
from repertory.actors.instructions import BringUp, Drop, End, Keep, Send, Stage
from repertory.actors.links import CallerIn, LinkDown, LinkEvent, Links, LinkUp
from repertory.actors.logs import set_up_logging
from repertory.actors.messages import (
    Adopted,
    ModelStaged,
    PolicyFailed,
    PolicySet,
    Shard,
    StagingFailed,
    StandBy,
    StartRouter,
    StartServing,
)
from repertory.actors.policy_actor import PolicyActor
from repertory.actors.policy_store import PolicyStore
from repertory.actors.router_core import RouterCore
from repertory.actors.serving import ModelServingActor
from repertory.actors.wire import pack_address
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ConfigError, InvalidRequest
from repertory.protos.door_pb2 import Envelope, Hello

# A new process needs 0.3 s to listen, twenty on a very busy machine; one that does not is given up.
START_SECONDS = 45.0
# A process that starts needs a core for half a second. More than there are cores at a time only
# make each other late, and none of them serves before the last one does.
STARTING_AT_ONCE = max(2, os.cpu_count() or 1)
# So many in a row of one shard that do not come up tell of a system that creates none any more.
MOST_ATTEMPTS = 3
# An actor that dies again and again is started again after this long, then twice as long, …
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 2.0
# One that served for this long has earned a prompt restart.
STEADY_SECONDS = 1.0
# A serving actor that has had a batch for this long is taken to hang in its engine.
STUCK_SECONDS = 60.0
RESEND_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Actor:
    """The actor of a shard, as its router sees it."""

    shard: Shard
    peer: int | None = None
    address: ActorAddress | None = None  # known once it is adopted
    child: ActorAddress | None = None  # when this router created it
    created: float = 0.0  # monotonic seconds; 0: to be created
    attempts: int = 0  # processes since one was up that neither came up nor ended
    up_since: float = 0.0
    backoff: float = FIRST_BACKOFF
    not_before: float = 0.0


class RouterActor(DoorActor):
    """Forwards batches and questions; creates, adopts and restarts the actors of shards."""

    def __init__(self) -> None:
        super().__init__()
        self._core: RouterCore | None = None
        self._config: ClusterConfig | None = None
        self._node = ""
        self._paths: NodePaths | None = None
        self._actors: dict[Shard, _Actor] = {}
        self._policies: PolicyStore | None = None
        self._links: Links | None = None
        self._spares: list[ActorAddress] = []
        self._resent = 0.0

    def control(self, message: Any, sender: ActorAddress) -> None:
        """Handle a Thespian message."""
        if isinstance(message, StartRouter):
            self._start(message)
        elif isinstance(message, Adopted):
            self._adopted(message.shard, sender)
        elif isinstance(message, ModelStaged | StagingFailed | PolicySet | PolicyFailed):
            if self._core is not None:
                self._core.staged(message)
        elif isinstance(message, ChildActorExited):
            self._child_exited(message.childAddress)

    def happened(self, event: Event) -> None:
        """Handle what happened at a door."""
        assert self._core is not None
        linked = self._links.take(event) if self._links is not None else None
        if linked is not None:
            for each in linked:
                self._linked(each)
            return
        match event:
            case Arrived(peer, frame):
                if frame.envelope.kind == Envelope.WELCOME:
                    self._welcomed(peer)
                else:
                    self._core.arrived(peer, frame)
            case Connected(peer):
                self._core.connected(peer)
            case Closed(peer, reason):
                self._core.closed(peer)
                self._closed(peer, reason)

    def tick(self) -> None:
        """Expire what is late, connect to actors that come up, restart those that died."""
        assert self._core is not None
        if self._core.fault is not None:
            self._open_links()
        if self._links is not None:
            self._links.tick()
        self._core.tick()
        for shard, peer in self._core.stuck(STUCK_SECONDS):
            log.error("an actor hangs; it is killed", shard=str(shard))
            if (pid := self.hub.pid(peer)) is not None:
                kill(pid)
        for actor in self._actors.values():
            if actor.peer is None:
                self._bring_up(actor)
        now = time.monotonic()
        if now - self._resent > RESEND_SECONDS:
            self._resent = now
            self._keep_spares()
            for actor in self._actors.values():
                if actor.peer is not None and actor.up_since and actor.address is None:
                    self._adopt(actor.peer)  # its answer was lost: it cannot be told anything yet
            for stage in self._core.unacknowledged():
                self._tell(stage.shard, stage.message)

    def stop(self) -> None:
        """Free what is held."""
        if self._links is not None:
            self._links.close()
        super().stop()

    def settle(self) -> None:
        """Carry out what RouterCore decided."""
        if self._core is None:
            return
        outbox, self._core.outbox = self._core.outbox, []
        for instruction in outbox:
            match instruction:
                case Send(peer, envelope, payload):
                    self.hub.send(peer, envelope, payload)
                case Stage(shard, message):
                    self._tell(shard, message)
                case BringUp(shard):
                    self._actors[shard] = _Actor(shard)
                    self._bring_up(self._actors[shard])
                case End(shard):
                    self._end(shard)
                case Keep(message):
                    assert self._policies is not None
                    self._policies.save(message)
                case Drop(node, reason):
                    assert self._links is not None
                    self._links.drop(node, reason)

    def _start(self, message: StartRouter) -> None:
        if self._core is not None:
            return  # sent again
        self._config, self._node = message.config, message.node
        self._paths = NodePaths(message.config, message.node)
        set_up_logging(message.config.log_level)
        incarnation, reporting = uuid.uuid4().hex, _reporting(message.config)
        self._core = RouterCore(message.config, message.node, incarnation, reporting=reporting)
        self._policies = PolicyStore(self._paths.policies, shared=message.config.snapshots.url)
        for policy in self._policies.load(message.config.data_types):
            try:
                self._core.restore(policy)
            except InvalidRequest as error:  # of a package that is gone; the keeper will tell, too
                log.error("a policy cannot be restored", data_type=policy.data_type, why=str(error))
        # Actors of a router that died are still there and serve on: they are adopted.
        self.settle()
        if message.config.is_cluster:
            self._links = Links(self.hub, message.config, message.node, incarnation=incarnation)
            self._open_links()
        self.hub.listen(self._paths.router_door)
        self.start_ticking()
        spare_what_is_here()
        log.info("the router is up", shards=sorted(map(str, self._actors)))

    def _open_links(self) -> None:
        """Listen for other nodes; without that this one is not ready, and tries again."""
        assert self._core is not None
        assert self._links is not None
        before, self._core.fault = self._core.fault, None
        try:
            self._links.open()
        except ConfigError as error:
            self._core.fault = str(error)
            if before != self._core.fault:
                log.error("other nodes cannot come in; it is tried again", why=str(error))

    # --- bringing actors up, and ending them

    def _bring_up(self, actor: _Actor) -> None:
        # Adopt before creating.
        now = time.monotonic()
        peer = self.hub.connect(self._door(actor.shard))
        if peer is not None:
            actor.peer = peer
            hello = Hello(protocol=PROTOCOL_VERSION, role="router", name=self._node)
            self.hub.send(peer, Envelope(kind=Envelope.HELLO), hello.SerializeToString())
        elif now > actor.not_before and self._may_start(actor, now):
            self._give_up_late(actor)
            actor.created = now
            actor.child = self._new_child(actor.shard)
            assert self._config is not None
            self.send(actor.child, StartServing(self._config, self._node, actor.shard))
            log.info("an actor is started", shard=str(actor.shard))

    def _new_child(self, shard: Shard) -> ActorAddress:
        if shard.is_policy:
            return self.createActor(PolicyActor)
        if self._spares:
            return self._spares.pop()
        return self.createActor(ModelServingActor)

    def _keep_spares(self) -> None:
        """Have actors that wait for what this node may have to take over, once all others are up."""
        assert self._config is not None
        is_busy = any(each.created and not each.up_since for each in self._actors.values())
        wanted = self._config.cluster.spare_actors if self._config.is_cluster else 0
        if len(self._spares) < wanted and not is_busy:
            self._spares.append(self.createActor(ModelServingActor))
            self.send(self._spares[-1], StandBy())

    def _give_up_late(self, actor: _Actor) -> None:
        """End a process that has not come up; if none does, this router cannot start any more."""
        if not actor.created or actor.child is None:
            return
        log.warning("an actor did not come up; another is started", shard=str(actor.shard))
        self.send(actor.child, ActorExitRequest())
        actor.attempts += 1
        if actor.attempts >= MOST_ATTEMPTS:
            log.critical("no actor comes up; the next router adopts those there are")
            os._exit(1)

    def _may_start(self, actor: _Actor, now: float) -> bool:
        if actor.created:
            return now - actor.created > START_SECONDS
        starting = sum(1 for each in self._actors.values() if each.created and not each.up_since)
        return starting < STARTING_AT_ONCE

    def _door(self, shard: Shard) -> Path:
        assert self._paths is not None
        if shard.is_policy:
            return self._paths.policy_door(shard.data_type)
        return self._paths.serving_door(shard.data_type, shard.slot)

    def _end(self, shard: Shard) -> None:
        actor = self._actors.pop(shard)
        if (address := actor.address or actor.child) is not None:
            self.send(address, ActorExitRequest())
        elif actor.peer is not None and (pid := self.hub.pid(actor.peer)) is not None:
            kill(pid)
        if actor.peer is not None:
            self.hub.disconnect(actor.peer)
        log.info("an actor is ended; nothing needs it any more", shard=str(shard))

    def _linked(self, event: LinkEvent) -> None:
        assert self._core is not None
        match event:
            case LinkUp(node, peer, protocol):
                self._core.link_up(node, peer, protocol)
            case LinkDown(node):
                self._core.link_down(node)
            case CallerIn(node, peer):
                self._core.connected(peer, node)

    def _welcomed(self, peer: int) -> None:
        assert self._core is not None
        for actor in self._actors.values():
            if actor.peer == peer:
                actor.up_since = time.monotonic()
                actor.attempts = 0
                self._adopt(peer)
                self._core.shard_up(actor.shard, peer)

    def _adopt(self, peer: int) -> None:
        adopt = Envelope(kind=Envelope.TELL, subject="adopt")
        self.hub.send(peer, adopt, pack_address(self.myAddress))

    def _adopted(self, shard: Shard, address: ActorAddress) -> None:
        assert self._core is not None
        if shard not in self._actors:
            return  # it was ended meanwhile
        self._actors[shard].address = address
        for stage in self._core.unacknowledged():
            if stage.shard == shard:
                self.send(address, stage.message)

    def _closed(self, peer: int, reason: str) -> None:
        for actor in self._actors.values():
            if actor.peer == peer and actor.up_since:
                self._lost(actor, reason)
            elif actor.peer == peer:
                # The door of one that is just dying still let us in; its successor opens its own.
                actor.peer = None

    def _lost(self, actor: _Actor, reason: str) -> None:
        now = time.monotonic()
        steady = actor.up_since and now - actor.up_since > STEADY_SECONDS
        actor.backoff = FIRST_BACKOFF if steady else min(actor.backoff * 2, LAST_BACKOFF)
        actor.not_before = now + (0 if steady else actor.backoff)
        actor.peer = actor.address = actor.child = None
        actor.created = actor.up_since = 0.0
        log.warning("an actor is lost; it is started again", shard=str(actor.shard), why=reason)

    def _child_exited(self, address: ActorAddress) -> None:
        if address in self._spares:
            self._spares.remove(address)
        # Those with a door are seen dying at the door, in the same moment; this is for the others.
        for actor in self._actors.values():
            if actor.child == address and actor.created and not actor.up_since:
                self._lost(actor, "it ended before it listened")

    def _tell(self, shard: Shard, message: object) -> None:
        actor = self._actors.get(shard)
        if actor is not None and (address := actor.address) is not None:
            with contextlib.suppress(OSError):
                self.send(address, message)


def _reporting(config: ClusterConfig) -> Sequence[str]:
    """Return the role of each process that has to report for the node to be ready."""
    streams = ["streams"] if config.kafka.bootstrap_servers else []
    # Who asks an HTTP face knows that it is there; of several, one may be missing.
    several = config.http.enabled and config.http.workers > 1
    return streams + ["http"] * config.http.workers if several else streams
