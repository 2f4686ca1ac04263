"""What a router tells the others of its node, again and again. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from repertory.actors.cluster import Cluster, Link
from repertory.actors.desk import Desk
from repertory.actors.membership import Beat, Standing
from repertory.actors.shards import Shards

# Before this version of the protocol, a data type's standing is its journal position alone.
STANDINGS_SINCE = 2


class Heart:
    """Beats: every `seconds`, and at once when what is served here has changed."""

    def __init__(
        self,
        cluster: Cluster,
        shards: Shards,
        desk: Desk,
        *,
        seconds: float,
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._seconds = seconds
        self._due = 0.0
        self._told: tuple[Mapping[str, Standing], Mapping[str, str], bool] = ({}, {}, False)
        self.out: dict[str, str] = {}  # why a data type is not served here as others serve it

    def ready(self) -> dict[str, Standing]:
        """Return the data types that are served here, and how they stand."""
        standings = ((name, self._shards.standing(name)) for name in self._shards.here())
        return {name: standing for name, standing in standings if standing is not None}

    def tick(self) -> None:
        """Beat if it is time to, or if there is something new."""
        if self._cluster.alone:
            return
        now, told = self._desk.clock(), (self.ready(), dict(self.out), self._cluster.leaving)
        if now >= self._due or told != self._told:
            self._due, self._told = now + self._seconds, told
            for link in self._cluster.links.values():
                self.beat(link)

    def beat(self, link: Link) -> None:
        """Tell one node."""
        ready, out, _ = self._told
        payload = orjson.dumps(write_beat(self._cluster.beat(ready, out), link.protocol))
        self._desk.tell(link.peer, "beat", payload)


def write_beat(beat: Beat, protocol: int) -> dict[str, object]:
    """Return the JSON of a beat, for a node that speaks this version of the protocol."""
    return {
        "node": beat.node,
        "incarnation": beat.incarnation,
        "leaving": beat.leaving,
        "ready": {
            name: standing.position if protocol < STANDINGS_SINCE else list(standing)
            for name, standing in beat.ready.items()
        },
        "out": beat.out,
        "about": beat.about,
    }


def read_beat(payload: bytes, node: str) -> Beat:
    """Return the beat of a node. Raises ValueError or TypeError when it is none."""
    found = orjson.loads(payload)
    if not isinstance(found, dict):
        raise TypeError("a beat is a JSON object")
    ready = {
        str(name): _read_standing(standing)
        for name, standing in dict(found.get("ready") or {}).items()
    }
    out = {str(name): str(why) for name, why in dict(found.get("out") or {}).items()}
    return Beat(
        node=node,
        incarnation=str(found.get("incarnation")),
        leaving=bool(found.get("leaving")),
        ready=ready,
        out=out,
        about=dict(found.get("about") or {}),
    )


def _read_standing(standing: Any) -> Standing:
    if isinstance(standing, int):
        return Standing(standing)
    position, has_policy = standing
    return Standing(int(position), bool(has_policy))
