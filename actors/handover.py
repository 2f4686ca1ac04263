"""The end of a node: others serve what it served before it goes. Pure."""

import orjson

from repertory.actors.cluster import Cluster
from repertory.actors.desk import Desk
from repertory.actors.ownership import Ownership
from repertory.actors.shards import Shards
from repertory.actors.target import Job
from repertory.protos.door_pb2 import Envelope


class Handover:
    """Answers when other nodes serve what is served here, or cannot be waited for any longer."""

    def __init__(
        self,
        cluster: Cluster,
        shards: Shards,
        desk: Desk,
        *,
        ownership: Ownership,
        seconds: float,
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._ownership = ownership
        self._seconds = seconds
        self._waiting: list[tuple[Job, float]] = []

    def begin(self, job: Job) -> None:
        """Take the supervisor's question."""
        self._waiting.append((job, self._desk.clock() + self._seconds))
        self.tick()

    def tick(self) -> None:
        """Answer what can be answered."""
        if not self._waiting:
            return
        kept = self._kept()
        for job, deadline in list(self._waiting):
            if not kept or not self._cluster.staying() or self._desk.clock() >= deadline:
                self._waiting.remove((job, deadline))
                self._desk.pass_back(job, Envelope.ANSWER, orjson.dumps({"kept": kept}))

    def _kept(self) -> list[str]:
        """Return what is served here and nowhere else, or has something in hand yet."""
        elsewhere = self._ownership.taken_over()
        busy = {
            shard.data_type for shard, actor in self._shards.actors.items() if actor.target.load
        }
        return [
            name
            for name in self._shards.here()
            if self._shards.serves(name) and (name not in elsewhere or name in busy)
        ]
