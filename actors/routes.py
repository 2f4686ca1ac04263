"""Where the batches of each data type go: to actors of this node, or to another node's router. Pure.

The least busy node among the owners that serve a data type gets a batch; this one, where several
are equal. What was in the hands of a node that is lost is sent to another one: scoring is pure.
"""

from collections import deque
from collections.abc import Callable

from repertory.actors.cluster import Cluster, Link
from repertory.actors.desk import Desk
from repertory.actors.frames import Frame
from repertory.actors.remote import Remote
from repertory.actors.shards import Shards
from repertory.actors.target import Job, Target
from repertory.config import ClusterConfig
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure

# What another router says when the batch is better sent elsewhere, or again.
_TRY_AGAIN = frozenset({FailureCode.ELSEWHERE, FailureCode.OVERLOADED})


class Routes:
    """Chooses a target for each batch, holds what has none just now, and takes replies of remotes.

    `unanswered` gets the questions that were on their way to a node that is lost.
    """

    def __init__(
        self,
        config: ClusterConfig,
        cluster: Cluster,
        shards: Shards,
        *,
        desk: Desk,
        unanswered: Callable[[Job], None],
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._unanswered = unanswered
        self.remotes = {
            node: Remote(node, config.data_types) for node in config.nodes if node != cluster.node
        }
        self._by_peer: dict[int, Remote] = {}
        self._held: deque[Job] = deque()
        self.retried = 0

    @property
    def held(self) -> int:
        """How many batches wait for somebody to serve them."""
        return len(self._held)

    def route(self, job: Job) -> None:
        """Give a batch to the best target, or hold it."""
        target = self._choose(job)
        if target is None:
            self._held.append(job)
        else:
            target.add(job)
            self._desk.dispatch(target)

    def route_here(self, job: Job) -> None:
        """Take a batch that another router has sent here, which goes no further."""
        data_type = job.frame.envelope.data_type
        front = self._shards.front(data_type)
        if front is None or not (data_type in self._shards.owned or self._shards.serves(data_type)):
            self._desk.fail(job, FailureCode.ELSEWHERE, f"{data_type!r} is not served here")
            return
        if self._is_coming(data_type):
            self._held.append(job)
            return
        front.target.add(job)
        self._desk.dispatch(front.target)

    def retry(self) -> None:
        """Try again to find a target for what is held."""
        held, self._held = self._held, deque()
        for job in held:
            if job.frame.envelope.forwarded:
                self.route_here(job)
            else:
                self.route(job)

    def release(self) -> None:
        """Give what waits here, for an actor that is not there, to a node that serves."""
        for data_type in self._shards.here():
            front = self._shards.front(data_type)
            if front is None or not front.target.waiting or self._shards.serves(data_type):
                continue
            if self._cluster.able(data_type, self._cluster.floor(data_type)):
                for job in front.target.take_waiting():
                    self.route(job)

    def scored(self, job: Job, frame: Frame) -> None:
        """Pass a batch's reply back, unless an older model gave it than had answered before."""
        kind = frame.envelope.kind
        data_type, position = job.frame.envelope.data_type, frame.envelope.position
        is_newest = not position or self._cluster.raise_floor(data_type, position)
        if is_newest or job.frame.envelope.forwarded:
            self._desk.pass_back(job, kind, frame.payload, position)
        else:
            self._again(job)

    # --- other nodes

    def link_up(self, node: str, link: Link) -> None:
        """Note the link to a node."""
        remote = self.remotes[node]
        self._by_peer[link.peer] = remote
        self._cluster.links[node] = link
        remote.up(link.peer)
        self.retry()

    def link_down(self, node: str) -> None:
        """Note that the link to a node is gone; another one gets what it had in hand."""
        remote = self.remotes[node]
        if remote.peer is not None:
            self._by_peer.pop(remote.peer, None)
        self._cluster.links.pop(node, None)
        for job in remote.lost():
            if job.is_batch:
                self.retried += 1
                self.route(job)
            else:
                self._unanswered(job)

    def replied(self, peer: int, frame: Frame) -> bool:
        """Take a reply of another node; return whether the peer is one."""
        remote = self._by_peer.get(peer)
        if remote is None:
            return False
        target, job = remote.finish(frame.envelope.correlation_id)
        if job is not None and job.is_batch:
            self._replied(remote.node, job, frame)
        elif job is not None:
            self._desk.pass_back(job, frame.envelope.kind, frame.payload)
        self._desk.dispatch(target)
        return True

    def tick(self, now: float) -> None:
        """Answer what waited past its deadline."""
        for remote in self.remotes.values():
            for name, job in remote.expire(now):
                self._desk.late(job, name)
        for job in [job for job in self._held if job.deadline <= now]:
            self._held.remove(job)
            name = job.frame.envelope.data_type
            self._desk.fail(
                job, FailureCode.DEADLINE_EXCEEDED, f"no node that serves {name!r} could be reached"
            )
        self.retry()

    def forget_client(self, client: int) -> None:
        """Drop what a vanished client had queued."""
        self._held = deque(job for job in self._held if job.client != client)
        for remote in self.remotes.values():
            remote.forget_client(client)

    def _replied(self, node: str, job: Job, frame: Frame) -> None:
        kind = frame.envelope.kind
        if kind != Envelope.FAILURE:
            self._cluster.forwarded[node] += 1
            self.scored(job, frame)
        elif Failure.FromString(frame.payload).code in _TRY_AGAIN:
            self._again(job)
        else:
            self._desk.pass_back(job, kind, frame.payload)

    def _again(self, job: Job) -> None:
        self.retried += 1
        self._held.append(job)  # until the next tick: what would be so at once again can wait

    # --- choosing

    def _choose(self, job: Job) -> Target | None:
        data_type = job.frame.envelope.data_type
        cluster, front = self._cluster, self._shards.front(data_type)
        floor, own = cluster.floor(data_type), self._shards.standing(data_type)
        here = front is not None and own is not None and own.is_at(floor)
        if cluster.alone and (here or own is None):
            assert front is not None
            return front.target  # it waits there for its actor, or is told that there is no model
        able = cluster.able(data_type, floor)
        if here or able:
            cluster.met(data_type)
            return self._least_busy(data_type, able, front.target if here and front else None)
        if own is not None or cluster.serving(data_type):
            cluster.missed(data_type, own)
            return None
        return self._coming(data_type)

    def _least_busy(self, data_type: str, able: list[str], own: Target | None) -> Target:
        owners, best = self._cluster.owners(data_type), []
        if own is not None:
            best.append((self._cluster.node not in owners, own.load, -1, own))
        for rank, node in enumerate(able):
            target = self.remotes[node].target(data_type)
            best.append((node not in owners, target.load, rank, target))
        return min(best, key=lambda each: each[:3])[3]

    def _is_coming(self, data_type: str) -> bool:
        """Return whether it is not known yet which model, if any, is to be on stage here."""
        return data_type in self._shards.unsettled and not self._shards.serves(data_type)

    def _coming(self, data_type: str) -> Target | None:
        """Return who will serve a data type that nobody serves, or will say that there is no model."""
        front, reachable = self._shards.front(data_type), self._cluster.reachable()
        for node in self._cluster.owners(data_type):
            if node == self._cluster.node and front is not None:
                return None if self._is_coming(data_type) else front.target
            if node in reachable:
                return self.remotes[node].target(data_type)
        return None
