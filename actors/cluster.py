"""What a router knows of the cluster: who is there, who owns what, who serves what. Pure."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from repertory import __version__
from repertory.actors.handshake import PEER_PROTOCOL
from repertory.actors.membership import (
    Beat,
    Change,
    Membership,
    MemberState,
    Patience,
    Standing,
)
from repertory.actors.placement import Host, owners
from repertory.config import ClusterConfig
from repertory.journal.clock import epoch_ms

# Nobody serves what was served before, and nobody will soon: older is better than nothing then.
FLOOR_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Link(NamedTuple):
    """Our link to another node: the connection, and the version of the protocol spoken there."""

    peer: int
    protocol: int


class Cluster:
    """The nodes of cluster.yaml, as one of their routers sees them. A single node is one, too.

    `floor` is the highest journal position at which a data type is known to be served: what is
    scored by an older model is not passed on any more, so that versions never go backwards.
    """

    def __init__(
        self,
        config: ClusterConfig,
        node: str,
        incarnation: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self.incarnation = incarnation
        self._config = config
        self._clock = clock
        self._started = epoch_ms()
        self.alone = not config.is_cluster
        patience = Patience(config.cluster.suspect_ms / 1000, config.cluster.down_ms / 1000)
        self.membership = Membership(node, config.nodes, patience=patience, clock=clock)
        self._hosts = {
            name: Host(
                name,
                each.weight,
                each.capabilities,
                None if each.only is None else frozenset(each.only),
            )
            for name, each in config.nodes.items()
        }
        self.links: dict[str, Link] = {}  # by node
        self.leaving = False
        self.fault: str | None = None  # why other nodes cannot come in
        self.forwarded: Counter[str] = Counter()
        self._owners: dict[str, tuple[str, ...]] = {}
        self._floors: dict[str, int] = {}
        self._missed_since: dict[str, float] = {}  # by data type: nobody serves at the floor
        self.place()

    # --- who owns what

    def place(self) -> None:
        """Compute the owners of all data types anew."""
        living = [self._hosts[node] for node in self.membership.owning()]
        self._owners = {
            name: owners(name, living, replicas=each.replicas, needs=each.needs)
            for name, each in self._config.data_types.items()
        }

    def owners(self, data_type: str) -> tuple[str, ...]:
        """Return the nodes that own a data type, the one of the first replica first."""
        return self._owners.get(data_type, ())

    def owned(self) -> frozenset[str]:
        """Return the data types that this node owns."""
        return frozenset(name for name, nodes in self._owners.items() if self.node in nodes)

    # --- who serves what

    def able(self, data_type: str, floor: int) -> list[str]:
        """Return the other nodes that can be sent batches, and serve at `floor` or above."""
        if self.alone:
            return []
        reachable = self.reachable()
        ready = self.membership.ready(data_type)
        return [node for node, each in ready.items() if each.is_at(floor) and node in reachable]

    def reachable(self) -> frozenset[str]:
        """Return the other nodes that something can be sent to."""
        return frozenset(node for node in self.membership.reachable() if node in self.links)

    def staying(self) -> frozenset[str]:
        """Return the other nodes that something can be sent to, and that are not about to end."""
        leaving = MemberState.LEAVING
        return frozenset(
            node for node in self.reachable() if self.membership.state(node) is not leaving
        )

    def taken_over(self, data_type: str, floor: int) -> bool:
        """Return whether all owners of a data type, none of which is this node, serve it."""
        owners, able = self.owners(data_type), self.able(data_type, floor)
        return bool(owners) and all(node in able for node in owners)

    def serving(self, data_type: str) -> dict[str, Standing]:
        """Return which other nodes serve a data type, reachable or not, and how it stands there."""
        return {} if self.alone else self.membership.ready(data_type)

    def floor(self, data_type: str) -> int:
        """Return the position below which nothing is passed on; 0: there is none."""
        return self._floors.get(data_type, 0)

    def raise_floor(self, data_type: str, position: int) -> bool:
        """Note a position at which a data type was served; return whether it may be passed on."""
        floor = self._floors.get(data_type, 0)
        if position > floor:
            self._floors[data_type] = position
            self._missed_since.pop(data_type, None)
        return position >= floor

    def missed(self, data_type: str, own: Standing | None) -> None:
        """Note that nobody serves at the floor; after a while it is lowered to the best there is."""
        since = self._missed_since.setdefault(data_type, self._clock())
        if self._clock() - since < FLOOR_SECONDS:
            return
        ready = self.membership.ready(data_type)
        there = [ready[node].position for node in self.reachable() if node in ready]
        best = max([own.position if own else 0, *there])
        if best:
            del self._missed_since[data_type]
            log.error(
                "an older model serves: nobody has the newer one any more",
                data_type=data_type,
                position=best,
                before=self._floors.get(data_type),
            )
            self._floors[data_type] = best

    def met(self, data_type: str) -> None:
        """Note that somebody serves at the floor."""
        self._missed_since.pop(data_type, None)

    # --- who is there

    def heard(self, beat: Beat) -> list[Change]:
        """Take what another router tells of its node."""
        for data_type, standing in beat.ready.items():
            if not standing.has_policy:
                self.raise_floor(data_type, standing.position)
        return self._changed(self.membership.heard(beat))

    def gone(self, node: str) -> list[Change]:
        """Take it that another node has said farewell."""
        return self._changed(self.membership.gone(node))

    def leave(self) -> None:
        """Own nothing any more: this node is about to end."""
        self.leaving = True
        if not self.alone:
            self.membership.leave()
            self.place()

    def tick(self) -> list[Change]:
        """Judge who was silent."""
        return self._changed(self.membership.tick())

    def beat(self, ready: Mapping[str, Standing], out: Mapping[str, str]) -> Beat:
        """Return what this node tells of itself."""
        about = {
            "software": __version__,
            "started": self._started,
            "protocol": PEER_PROTOCOL,
        }
        return Beat(self.node, self.incarnation, self.leaving, ready, out, about)

    def leader(self) -> str:
        """Return the leader of the Thespian convention: the first of those listed that is up."""
        up = (node for node in self._leaders() if self.membership.state(node) is MemberState.UP)
        return next(up, self.node)

    def as_json(self, ready: Mapping[str, Standing], out: Mapping[str, str]) -> dict[str, Any]:
        """Return what `/cluster` says; `ready` and `out` are this node's."""
        return {
            "node": self.node,
            "leader": self.leader(),
            "members": [self._member(name) for name in self._config.nodes],
            "shards": {
                name: {
                    "replicas": each.replicas,
                    "owners": list(self.owners(name)),
                    "ready": self._ready(name, ready.get(name)),
                    "out": self._out(name, out),
                }
                for name, each in self._config.data_types.items()
            },
        }

    def _leaders(self) -> Sequence[str]:
        return self._config.cluster.leaders or tuple(self._config.nodes)

    def _ready(self, data_type: str, own: Standing | None) -> dict[str, int]:
        found = {self.node: own.position} if own is not None else {}
        return found | {name: each.position for name, each in self.serving(data_type).items()}

    def _out(self, data_type: str, own: Mapping[str, str]) -> dict[str, str]:
        found = {self.node: own[data_type]} if data_type in own else {}
        for name, member in self.membership.members.items():
            if member.beat is not None and data_type in member.beat.out:
                found[name] = member.beat.out[data_type]
        return found

    def _member(self, name: str) -> dict[str, Any]:
        node, member = self._config.nodes[name], self.membership.members[name]
        standby = name in self._leaders()
        role = "leader" if name == self.leader() else "standby" if standby else "member"
        own = name == self.node
        beat = self.beat({}, {}) if own else member.beat
        http = self._config.of_node(name).http
        return {
            "node": name,
            "state": member.state,
            "since": epoch_ms() - int((self._clock() - member.since) * 1000),
            "reason": member.reason,
            "linked": own or name in self.links,
            "roles": [role],
            "host": node.host,
            "doorPort": node.door_port,
            "http": f"http://{http.host}:{http.port}" if http.enabled else None,
            "incarnation": beat.incarnation if beat else None,
            "software": beat.about.get("software") if beat else None,
            "started": beat.about.get("started") if beat else None,
            "protocol": beat.about.get("protocol") if beat else None,
            "weight": node.weight,
            "capabilities": dict(node.capabilities),
            "only": None if node.only is None else list(node.only),
        }

    def _changed(self, changes: list[Change]) -> list[Change]:
        for change in changes:
            told = {"member": change.node, "state": change.after, "why": change.reason}
            if change.after in (MemberState.SUSPECT, MemberState.DOWN):
                log.warning("a node of the cluster is not there", **told)
            else:
                log.info("a node of the cluster", **told)
        if changes:
            self.place()
        return changes
