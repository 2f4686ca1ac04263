"""Who answers a question: the keeper, actors here and on other nodes, or the router itself. Pure."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from repertory.actors.cluster import Cluster
from repertory.actors.desk import Desk
from repertory.actors.gathering import Asker, Gatherings
from repertory.actors.handover import Handover
from repertory.actors.heart import Heart
from repertory.actors.membership import MemberState
from repertory.actors.messages import Shard
from repertory.actors.reports import Reports
from repertory.actors.routes import Routes
from repertory.actors.shards import ShardActor, Shards
from repertory.actors.target import Job, Target
from repertory.errors import FailureCode
from repertory.journal.clock import epoch_ms
from repertory.protos.door_pb2 import Envelope

# What changes the journal, or asks for its history: for the keeper.
CHANGES = frozenset({"publish", "retire", "rollback", "policy", "policy_rollback"})
HISTORIES = frozenset({"versions", "policies"})
# Questions about models on stage, which all nodes that have some answer together.
GATHERED = frozenset({"state", "comparison", "models"})
# Another node's router may ask these.
OF_NODES = GATHERED | HISTORIES | {"status", "metrics"}

_Answer = Callable[[], Mapping[str, Any]]


class Questions:
    """Passes questions on, and answers those about the node."""

    def __init__(
        self,
        cluster: Cluster,
        shards: Shards,
        desk: Desk,
        *,
        routes: Routes,
        keeper: Target,
        reports: Reports,
        heart: Heart,
        handover: Handover,
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._routes = routes
        self._keeper = keeper
        self._reports = reports
        self._gatherings = Gatherings(desk, cluster.node)
        self._heart = heart
        self._handover = handover
        self._of_the_node: dict[str, _Answer] = {
            "models": lambda: {"models": shards.models_json()},
            "health": self._health,
            "status": self._status,
            "metrics": lambda: {"texts": reports.texts()},
            "cluster": lambda: cluster.as_json(heart.ready(), heart.out),
            "here": lambda: {"data_types": shards.here()},
            "leave": self._leave,
            "farewell": self._farewell,
        }

    def ask(self, job: Job) -> None:
        """Have a question answered, here or elsewhere."""
        envelope = job.frame.envelope
        data: dict[str, Any] = orjson.loads(job.frame.payload)
        node = data.get("node")
        if envelope.forwarded and envelope.subject not in OF_NODES:
            self._refuse(job, f"a node is not asked {envelope.subject!r}")
        elif node not in (None, self._cluster.node) and not envelope.forwarded:
            self._ask_node(job, str(node))
        elif envelope.subject in GATHERED and not (envelope.forwarded or data.get("local")):
            self._gather(job)
        elif envelope.subject == "handover":
            self._handover.begin(job)
        else:
            self._answer_here(job)

    def tick(self) -> None:
        """Answer what has waited long enough."""
        self._gatherings.tick()
        self._handover.tick()

    def unanswered(self, job: Job) -> None:
        """Take a question back whose node was lost; a history is known here as well."""
        if job.frame.envelope.subject in HISTORIES and job.taker is None:
            self._add(self._keeper, job)
        else:
            self._desk.fail(job, FailureCode.UNAVAILABLE, "its node was lost meanwhile")

    # --- who answers

    def _answer_here(self, job: Job) -> None:
        subject = job.frame.envelope.subject
        if subject in CHANGES:
            self._add(self._keeper, job)
        elif subject in HISTORIES:
            self._add(self._historian(job), job)
        elif subject in ("state", "comparison"):
            if (actor := self._asked_about(job)) is not None:
                self._add(actor.target, job)
        elif subject in self._of_the_node:
            answer = orjson.dumps(self._of_the_node[subject]())
            self._desk.pass_back(job, Envelope.ANSWER, answer)
        else:
            self._refuse(job, f"nobody answers {subject!r}")

    def _historian(self, job: Job) -> Target:
        """Return the keeper to ask: the one of the first owner, so that all nodes answer the same."""
        data_type = job.frame.envelope.data_type
        owner = next(iter(self._cluster.owners(data_type)), self._cluster.node)
        if job.frame.envelope.forwarded or owner not in self._cluster.reachable():
            return self._keeper
        return self._routes.remotes[owner].questions

    def _ask_node(self, job: Job, node: str) -> None:
        if node not in self._routes.remotes:
            known = ", ".join([self._cluster.node, *self._routes.remotes])
            why = f"there is no node {node!r}; there are: {known}"
            self._desk.fail(job, FailureCode.NOT_FOUND, why)
        elif node not in self._cluster.reachable():
            why = f"node {node} cannot be reached just now"
            self._desk.fail(job, FailureCode.UNAVAILABLE, why)
        else:
            self._add(self._routes.remotes[node].questions, job)

    def _gather(self, job: Job) -> None:
        data_type = job.frame.envelope.data_type
        is_of_all = job.frame.envelope.subject == "models"
        if not is_of_all and not self._is_declared(job, data_type):
            return
        askers: dict[str, Asker] = {}
        silent: dict[str, int] = {}
        reachable = self._cluster.reachable()
        for node in self._who_knows(None if is_of_all else data_type):
            if node == self._cluster.node:
                askers[node] = self._answer_here
            elif node in reachable:
                askers[node] = self._asker(self._routes.remotes[node].questions)
            else:
                silent[node] = self._silent_since(node)
        self._gatherings.begin(job, askers, silent)

    def _who_knows(self, data_type: str | None) -> list[str]:
        """Return the nodes that serve a data type, or are to; all that are there, if it is None."""
        if data_type is None:
            down = (MemberState.DOWN, MemberState.UNKNOWN)
            members = self._cluster.membership.members.items()
            return [node for node, member in members if member.state not in down]
        nodes = dict.fromkeys(self._cluster.serving(data_type))
        if self._shards.has(data_type):
            nodes[self._cluster.node] = None
        if not any(node in self._cluster.reachable() for node in nodes):
            nodes |= dict.fromkeys(self._cluster.owners(data_type))
        return list(nodes)

    def _silent_since(self, node: str) -> int:
        heard = self._cluster.membership.members[node].heard
        return epoch_ms() - int((self._desk.clock() - heard) * 1000)

    def _asker(self, target: Target) -> Asker:
        return lambda job: self._add(target, job)

    def _add(self, target: Target, job: Job) -> None:
        target.add(job)
        self._desk.dispatch(target)

    def _asked_about(self, job: Job) -> ShardActor | None:
        """Return who answers a question: the actor of the slot that it names, or whoever is in front."""
        data_type = job.frame.envelope.data_type
        if not self._is_declared(job, data_type):
            return None
        front = self._shards.front(data_type)
        if front is None:
            why = f"{data_type!r} is not served on node {self._cluster.node}"
            self._desk.fail(job, FailureCode.UNAVAILABLE, why)
            return None
        slot = orjson.loads(job.frame.payload).get("slot")
        if slot is None and (front.shard.is_policy or job.frame.envelope.subject == "state"):
            return front
        actor = None if slot is None else self._shards.actors.get(Shard(data_type, str(slot)))
        if actor is None:
            what = "policy" if slot is None else f"slot {slot!r}"
            self._desk.fail(job, FailureCode.NOT_FOUND, f"{data_type!r} has no {what}")
        return actor

    def _is_declared(self, job: Job, data_type: str) -> bool:
        if (why := self._shards.undeclared(data_type)) is not None:
            self._desk.fail(job, FailureCode.UNKNOWN_DATA_TYPE, why)
        return why is None

    def _refuse(self, job: Job, why: str) -> None:
        self._desk.fail(job, FailureCode.INVALID_REQUEST, why)

    # --- answers about the node

    def _health(self) -> dict[str, Any]:
        waiting_for = [
            name
            for name in self._shards.required_without_model()
            if not self._cluster.able(name, 0)
        ]
        troubles = self._reports.troubles(self._desk.clock())
        if policies := self._shards.troubles():
            troubles["policy"] = policies
        if self._cluster.fault is not None:
            troubles["cluster"] = [self._cluster.fault]
        if self._cluster.leaving:
            troubles["node"] = ["this node is about to end"]
        return {
            "ready": not waiting_for and not troubles,
            "node": self._cluster.node,
            "waiting_for": waiting_for,
            "troubles": troubles,
        }

    def _status(self) -> dict[str, Any]:
        return {
            **self._health(),
            "incarnation": self._cluster.incarnation,
            "pid": os.getpid(),
            "keeper": self._keeper.peer is not None,
            "data_types": self._shards.status_json(),
            "faces": self._reports.by_name(),
            "forwarded": dict(self._cluster.forwarded),
            "retried": self._routes.retried,
            "held": self._routes.held,
        }

    # --- the end of the node

    def _leave(self) -> dict[str, Any]:
        self._cluster.leave()
        self._heart.tick()
        return {}

    def _farewell(self) -> dict[str, Any]:
        for link in self._cluster.links.values():
            self._desk.tell(link.peer, "gone")
        return {}
