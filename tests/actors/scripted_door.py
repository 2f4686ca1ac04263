"""A door in a thread, whose replies a test writes."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from repertory.actors.batch import decode_records
from repertory.actors.frames import Frame
from repertory.actors.hub import Arrived, Hub
from repertory.protos.door_pb2 import Envelope, Hello, ScoredBatch, Welcome

Handler = Callable[["Router", int, Frame], None]


class Router:
    """A router's door in a thread. `handler` gets the frames that are not greetings."""

    def __init__(self, door: Path, handler: Handler, credit: int) -> None:
        self.hub = Hub()
        self.hub.listen(door)
        self.handler = handler
        self.credit = credit
        self.hello = Hello()
        self.seen: list[tuple[int, Frame]] = []
        self._orders: list[Callable[[], None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for event in self.hub.poll(0.01):
                if isinstance(event, Arrived):
                    self._take(event.peer, event.frame)
            while self._orders:
                self._orders.pop(0)()
            self.hub.flush()
        self.hub.close()

    def _take(self, peer: int, frame: Frame) -> None:
        if frame.envelope.kind == Envelope.HELLO:
            self.hello = Hello.FromString(frame.payload)
            welcome = Welcome(node="a", incarnation="1", credit=self.credit)
            self.hub.send(peer, Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        else:
            self.seen.append((peer, frame))
            self.handler(self, peer, frame)

    def reply(
        self, peer: int, to: Frame, kind: Envelope.Kind, payload: bytes, *, position: int = 0
    ) -> None:
        """Send a reply; to be called by a handler or an order."""
        number = to.envelope.correlation_id
        envelope = Envelope(kind=kind, correlation_id=number, position=position)
        self.hub.send(peer, envelope, payload)

    def order(self, what: Callable[[], None]) -> None:
        """Have the router's thread do something."""
        self._orders.append(what)

    def die(self) -> None:
        """Close everything. Idempotent."""
        self._stop.set()
        self._thread.join(10)


def score(router: Router, peer: int, frame: Frame, *, position: int = 5) -> None:
    """Give each record the number in it as its value; answer nothing that is no batch."""
    if frame.envelope.kind != Envelope.SCORE:
        return
    values = [float(record) for record in decode_records(frame.payload, frame.envelope.count)]
    scored = ScoredBatch(model_name="m", model_version=3, values=np.array(values, "<f8").tobytes())
    router.reply(peer, frame, Envelope.SCORED, scored.SerializeToString(), position=position)
