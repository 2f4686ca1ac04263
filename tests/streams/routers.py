"""A router whose answers a test decides: it says of each batch that all went well."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import orjson

from repertory.actors.frames import Frame
from repertory.actors.hub import Arrived, Hub
from repertory.protos.door_pb2 import Envelope, ScoredBatch, Welcome


class ScriptedRouter:
    """Listens at a door, in a thread. What it answers was scored at the journal `position`.

    `seen` has what came: the floors that it was told, and "batch" for each batch.
    """

    def __init__(self, door: Path, position: int) -> None:
        self.position = position
        self.seen: list[str | dict[str, int]] = []
        self._hub = Hub()
        self._hub.listen(door)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for event in self._hub.poll(0.01):
                if isinstance(event, Arrived):
                    self._take(event.peer, event.frame)
            self._hub.flush()
        self._hub.close()

    def _take(self, peer: int, frame: Frame) -> None:
        asked = frame.envelope
        if asked.kind == Envelope.HELLO:
            welcome = Welcome(node="x", incarnation="1", credit=64)
            self._hub.send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        elif asked.kind == Envelope.TELL and asked.subject == "floor":
            self.seen.append(orjson.loads(frame.payload)["positions"])
        elif asked.kind == Envelope.SCORE:
            self.seen.append("batch")
            self._score(peer, asked)

    def _score(self, peer: int, asked: Envelope) -> None:
        values = np.zeros(asked.count, "<f8").tobytes()
        scored = ScoredBatch(model_name="m", model_version=self.position, values=values)
        answer = Envelope(
            kind=Envelope.SCORED, correlation_id=asked.correlation_id, position=self.position
        )
        self._hub.send(peer, answer, scored.SerializeToString())
