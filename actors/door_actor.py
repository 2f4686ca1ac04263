"""What the actors of a node have in common: a hub of doors, and a loop that nothing can break."""

import os
import signal
from abc import abstractmethod
from datetime import timedelta
from typing import Any

import structlog
from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
)

from repertory.actors.hub import Event, Hub

TICK = timedelta(milliseconds=50)
# Frames are answered in rounds before Thespian has its turn again: that is where throughput comes
# from, and the limit keeps control messages from waiting.
ROUNDS = 16
# Between rounds an actor waits this long at its doors for more: Thespian builds a new selector for
# each of its own turns, which costs more than answering. It is also what a control message waits.
LINGER_SECONDS = 0.001

_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)

log = structlog.get_logger(__name__)


class DoorActor(Actor):
    """An actor that watches doors. Control messages and frames are handled in one loop, no locks.

    Whatever a handler raises is logged, and the actor goes on: Thespian would deliver the message
    a second time.
    """

    def __init__(self) -> None:
        super().__init__()
        # Thespian catches these in Python, where a real SIGSEGV makes an actor spin for ever.
        for fatal in _FATAL:
            signal.signal(fatal, signal.SIG_DFL)
        self.hub = Hub()
        self._ticking = self._stopped = False

    @abstractmethod
    def control(self, message: Any, sender: ActorAddress) -> None:
        """Handle a Thespian message."""

    @abstractmethod
    def happened(self, event: Event) -> None:
        """Handle what happened at a door."""

    @abstractmethod
    def settle(self) -> None:
        """Do what the messages and events of this turn lead to; called before doors are flushed."""

    @abstractmethod
    def tick(self) -> None:
        """Do what is due; called every TICK once `start_ticking` was."""

    def stop(self) -> None:
        """Free what is held, when the system shuts down."""
        self.hub.close()

    def start_ticking(self) -> None:
        """Begin to call `tick`. Idempotent."""
        if not self._ticking:
            self._ticking = True
            self.wakeupAfter(TICK)

    def stop_ticking(self) -> None:
        """Call `tick` no more, for good: each time costs a turn of Thespian's."""
        self._ticking = False

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> Any:
        """Dispatch. Always returns the watch: any other return would end the watching."""
        if self._stopped:
            return None  # what was under way when the system shut down
        try:
            if isinstance(msg, WatchMessage):
                self._serve_doors()
            elif isinstance(msg, WakeupMessage):
                if self._ticking:
                    self.wakeupAfter(TICK)
                    self.tick()
            elif isinstance(msg, ActorExitRequest):
                self._stopped = True
                self.stop()
                return None
            else:
                self.control(msg, sender)
            self.settle()
            self.hub.flush()
        except Exception:  # the border of an actor, see above
            log.exception("a message could not be handled", message=type(msg).__name__)
        return ThespianWatch([self.hub.fileno()])

    def _serve_doors(self) -> None:
        for _ in range(ROUNDS):
            events = self.hub.poll(LINGER_SECONDS)
            for event in events:
                self._take(event)
            self.settle()
            self.hub.flush()
            if not events:
                break

    def _take(self, event: Event) -> None:
        try:
            self.happened(event)
        except Exception as error:  # a peer that sends what cannot be handled disturbs no other
            log.exception("a frame could not be handled; its peer is cut off", peer=event.peer)
            self.hub.disconnect(event.peer, f"it sent what could not be handled: {error}")


def kill(pid: int) -> None:
    """End a process of ours that does not answer."""
    if pid != os.getpid():
        os.kill(pid, signal.SIGKILL)
