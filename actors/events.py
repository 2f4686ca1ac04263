"""What happens at the doors of a hub."""

from dataclasses import dataclass

from repertory.actors.frames import Frame


@dataclass(frozen=True, slots=True)
class Connected:
    """A peer has come in: from another host, if `remote` (`10.0.0.2:43210`) is told.

    One over TLS has a certificate that our authority signed.
    """

    peer: int
    remote: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection that `connect_tcp` began is there, TLS included."""

    peer: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole frame from a peer."""

    peer: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Closed:
    """A peer is gone; its number is not used again."""

    peer: int
    reason: str


Event = Connected | Opened | Arrived | Closed
