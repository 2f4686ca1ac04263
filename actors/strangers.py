"""Peers that came in from another host and have not proved yet who they are."""

import time
from collections.abc import Iterator

from repertory.actors.alarm import Alarm
from repertory.actors.refusals import Refusals
from repertory.actors.tcp import TcpConnection

# A node needs milliseconds to prove who it is. When there are too many strangers, the one that has
# been here the longest goes, so that whoever only sits there keeps nobody out.
STRANGERS = 64
STRANGER_SECONDS = 5.0


class Strangers:
    """Who is here, the oldest first. Its alarm rings when the time of one is over."""

    def __init__(self) -> None:
        self.alarm = Alarm()
        self._connections: dict[int, TcpConnection] = {}
        self._refusals = Refusals("a connection from another host is refused")

    def add(self, stranger: TcpConnection) -> list[TcpConnection]:
        """Take in one more, and return those that must go for it."""
        stranger.deadline = time.monotonic() + STRANGER_SECONDS
        self._connections[stranger.number] = stranger
        self._set_alarm()
        return list(self._connections.values())[:-STRANGERS]

    def remove(self, number: int) -> None:
        """Take it that a peer is gone, or no stranger any more. Idempotent."""
        self._connections.pop(number, None)

    def late(self) -> Iterator[TcpConnection]:
        """Stop the alarm, and yield those whose time is over."""
        self.alarm.stop_ringing()
        now = time.monotonic()
        for stranger in list(self._connections.values()):
            if stranger.deadline <= now:
                yield stranger
        self._set_alarm()

    def refuse(self, stranger: TcpConnection, reason: str) -> None:
        """Log, once, why one is turned away."""
        self._refusals.tell(stranger.remote.rpartition(":")[0], reason)

    def close(self) -> None:
        """Free the alarm."""
        self.alarm.close()

    def _set_alarm(self) -> None:
        if self._connections:
            self.alarm.set(next(iter(self._connections.values())).deadline)
