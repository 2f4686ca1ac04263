"""How the HTTP face has records scored: by their serving actor itself, where the router lets it."""

import time
from collections.abc import Collection
from pathlib import Path

import orjson

from repertory.actors.batch import RecordBatch, ScoredColumns
from repertory.actors.client import RouterClient
from repertory.actors.short_ways import SUBJECT
from repertory.config import NodePaths
from repertory.errors import DeadlineExceeded, Overloaded, Unavailable

# An actor that lets deadlines pass for so long is asked by way of the router, which ends one that
# hangs. Nothing is sent there again that it may only be slow with.
PATIENCE_SECONDS = 5.0


class FaceClient(RouterClient):
    """A router's client that takes the short way to serving actors, see ShortWays.

    What fails on the short way goes by the long one: scoring is pure. So does what an older model
    answered than the last one: the router waits for the newer one.
    """

    def __init__(self, paths: NodePaths, *, role: str, name: str = "") -> None:
        super().__init__(paths.router_door, role=role, name=name)
        self._paths = paths
        self._lines: dict[str, RouterClient] = {}
        self._short: frozenset[str] = frozenset()
        self._positions: dict[str, int] = {}  # of the models that answered last
        self._silent_since: dict[
            str, float
        ] = {}  # of actors whose last answers did not come in time

    async def __aexit__(self, *details: object) -> None:
        """Disconnect; what is in flight fails with Unavailable."""
        for line in self._lines.values():
            await line.__aexit__(*details)
        await super().__aexit__(*details)

    def lines(self) -> Collection[RouterClient]:
        """Return the connections to serving actors."""
        return self._lines.values()

    async def score_columns(
        self, batch: RecordBatch, *, timeout: float, explain: bool = False, probe: bool = False
    ) -> ScoredColumns:
        """Have a batch scored, as RouterClient does."""
        deadline = time.monotonic() + timeout
        if batch.data_type in self._short:
            scored = await self._score_directly(batch, timeout)
            if scored is not None:
                return scored
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("no answer came within the time allowed")
        scored = await super().score_columns(batch, timeout=left, explain=explain, probe=probe)
        self._positions[batch.data_type] = scored.position
        return scored

    async def _score_directly(self, batch: RecordBatch, timeout: float) -> ScoredColumns | None:
        """Ask the serving actor; None: the router has to."""
        line = self._lines[batch.data_type]
        if not line.connected.is_set():
            return None
        began = time.monotonic()
        try:
            scored = await line.score_columns(batch, timeout=timeout)
        except (Unavailable, Overloaded):
            return None
        except DeadlineExceeded:
            silent_since = self._silent_since.setdefault(batch.data_type, began)
            if time.monotonic() - silent_since > PATIENCE_SECONDS:
                self._short -= {batch.data_type}
            raise
        self._silent_since.pop(batch.data_type, None)
        last = self._positions.get(batch.data_type, 0)
        if scored.position < last:
            return None
        if scored.position > last:
            self._positions[batch.data_type] = scored.position
            self.raise_floor({batch.data_type: scored.position})
        return scored

    def _told(self, subject: str, payload: bytes) -> None:
        if subject == SUBJECT:
            self._short = frozenset(orjson.loads(payload))
            for data_type in self._short - self._lines.keys():
                self._lines[data_type] = _line(self._paths.serving_door(data_type))

    def _disconnected(self) -> None:
        self._short = frozenset()  # the next router tells anew
        super()._disconnected()


def _line(door: Path) -> RouterClient:
    return RouterClient(door, role="http", waits=False).begin()
