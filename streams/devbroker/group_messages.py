"""What goes into a consumer group and what comes out."""

from dataclasses import dataclass

from repertory.streams.devbroker.protocol import ErrorCode

Ticket = int
Protocols = tuple[tuple[str, bytes], ...]
"""Assignment strategies in order of preference, each with the member's metadata."""


@dataclass(frozen=True, kw_only=True)
class Join:
    """A request to become, or stay, a member. Timeouts in seconds."""

    member_id: str = ""
    instance_id: str | None = None
    client_id: str
    host: str
    session_timeout: float
    rebalance_timeout: float
    protocol_type: str
    protocols: Protocols
    knows_id_first: bool = True
    """Whether the client, told its member id, will join again with it (since version 4)."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a member says it is, and of which generation."""

    member_id: str
    instance_id: str | None
    generation: int


@dataclass(frozen=True)
class JoinedMember:
    """What the leader is told of each member."""

    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The answer to a join."""

    error: ErrorCode = ErrorCode.NONE
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member_id: str = ""
    members: tuple[JoinedMember, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Synced:
    """The answer to a sync."""

    error: ErrorCode = ErrorCode.NONE
    assignment: bytes = b""


Answers = list[tuple[Ticket, Joined | Synced]]
