"""Which serving actors the HTTP faces may ask themselves, past the router. Pure."""

import orjson

from repertory.actors.cluster import Cluster
from repertory.actors.desk import Desk
from repertory.actors.shards import Shards

SUBJECT = "short ways"


class ShortWays:
    """Tells faces of which data types the serving actor may be asked without the router.

    It has nothing to decide where this node is the only one, no policy stands before the actor, and
    the actor serves the newest model that ever answered. Whoever takes the short way saves two
    turns of a process, of a request that has six.
    """

    def __init__(self, cluster: Cluster, shards: Shards, desk: Desk) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._faces: set[int] = set()
        self._told: list[str] = []

    def greeted(self, face: int) -> None:
        """Note a face that has come in, and tell it."""
        self._faces.add(face)
        if self._told:
            self._tell(face)

    def gone(self, peer: int) -> None:
        """Forget a peer."""
        self._faces.discard(peer)

    def tell(self) -> None:
        """Tell the faces, if anything has changed."""
        if self._cluster.alone and (now := self._now()) != self._told:
            self._told = now
            for face in self._faces:
                self._tell(face)

    def _tell(self, face: int) -> None:
        self._desk.tell(face, SUBJECT, orjson.dumps(self._told))

    def _now(self) -> list[str]:
        return [name for name in self._shards.here() if self._is_short(name)]

    def _is_short(self, data_type: str) -> bool:
        standing = self._shards.standing(data_type)
        return (
            standing is not None
            and not standing.has_policy
            and standing.is_at(self._cluster.floor(data_type))
        )
