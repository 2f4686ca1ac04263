"""The links between routers: who is let in at our door, and our own way to each other node.

Each router has one outgoing link to each other node, and what it asks goes out there. So two nodes
have two connections, and neither needs to agree with the other on who calls.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import structlog
from google.protobuf.message import DecodeError

from repertory import __version__
from repertory.actors.agreement import agreement
from repertory.actors.frames import Frame
from repertory.actors.handshake import Acquaintance, Caller, Identity, Keeper, Refused
from repertory.actors.hub import Arrived, Closed, Connected, Event, Hub, Opened
from repertory.actors.refusals import Refusals
from repertory.actors.tls import TlsContexts
from repertory.config import ClusterConfig, Node
from repertory.errors import ConfigError, FailureCode
from repertory.protos.door_pb2 import Envelope, Failure

# A node that is not there is tried again soon, for it may just be starting; then every second.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.2, 1.0
# From the first packet to WELCOME; takes milliseconds between routers that are not busy.
HANDSHAKE_SECONDS = 3.0
_REASON_CHARACTERS = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Our link to another node is there: it is who it should be, and it let us in."""

    node: str
    peer: int
    protocol: int
    software: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    """Our link to another node, which was up, is gone."""

    node: str
    peer: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallerIn:
    """Another node's router was let in at our door. What it sends is passed on from now on."""

    node: str
    peer: int
    protocol: int
    software: str
    incarnation: str


LinkEvent = LinkUp | LinkDown | CallerIn


@dataclass(slots=True)
class _Outgoing:
    """Our link to one other node, or the lack of it."""

    node: str
    door: Node
    address: str = ""  # of its host; looked up again after each failure, if the host is a name
    lookup: "Future[str] | None" = None
    peer: int | None = None
    caller: Caller | None = None
    is_up: bool = False
    give_up: float = 0.0
    not_before: float = 0.0
    retry: float = FIRST_RETRY_SECONDS


class Links:
    """All links of one router, in both directions. Knows the peers of its hub that are its own.

    The caller gives each event of the hub to `take` first. A stranger's frames get no further.
    """

    def __init__(
        self,
        hub: Hub,
        config: ClusterConfig,
        node: str,
        *,
        incarnation: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError when a certificate cannot be used."""
        secret = config.cluster.secret
        assert secret is not None, "the configuration has been checked"
        key = secret.get_secret_value().encode()
        self._hub = hub
        self._config = config
        self._clock = clock
        self._own = Identity(
            node=node,
            incarnation=incarnation,
            software=__version__,
            secret=key,
            nodes=frozenset(config.nodes),
            agreement=agreement(config, key),
        )
        tls = config.cluster.tls
        self._tls = TlsContexts(tls, node) if tls is not None else None
        others = ((name, each) for name, each in config.nodes.items() if name != node)
        self._outgoing = {name: _Outgoing(name, each) for name, each in others}
        self._peers: dict[int, _Outgoing] = {}
        self._strangers: dict[int, tuple[Keeper | None, str]] = {}  # None: refused, it only closes
        self._callers: dict[str, int] = {}
        self._software: dict[str, str] = {}
        self._names = ThreadPoolExecutor(1, "names")
        self._refused = Refusals("a node is refused at our door")
        self._failed = Refusals("there is no link to a node; it is tried again")

    def open(self) -> None:
        """Listen at this node's door. Raises ConfigError, naming the key, when that cannot be."""
        own = self._config.nodes[self._own.node]
        try:
            tls = self._tls.server if self._tls is not None else None
            self._hub.listen_tcp(own.host, own.door_port, tls=tls)
        except OSError as error:
            raise ConfigError(
                f"nodes.{self._own.node}.door_port: cannot listen on {own.host}:{own.door_port}:"
                f" {error.strerror or error}"
            ) from error

    def tick(self) -> None:
        """Connect to nodes that there is no link to; give up handshakes that take too long."""
        now = self._clock()
        for link in self._outgoing.values():
            if link.peer is None and now >= link.not_before:
                self._connect(link, now)
            elif link.peer is not None and not link.is_up and now >= link.give_up:
                waited = f"it did not let us in within {HANDSHAKE_SECONDS:g} s"
                self._hub.disconnect(link.peer, waited)

    def take(self, event: Event) -> list[LinkEvent] | None:
        """Take an event of the hub; return what follows. None: it is for somebody else."""
        # Most events are frames of peers that have long been known: they come through first.
        if isinstance(event, Arrived):
            if event.peer in self._strangers:
                return self._hear_stranger(event.peer, event.frame)
            link = self._peers.get(event.peer)
            return None if link is None or link.is_up else self._hear(link, event.frame)
        match event:
            case Connected(peer, str(remote)):
                self._challenge(peer, remote)
                return []
            case Opened():
                return []  # the other side speaks first
            case Closed(peer, reason):
                return self._closed(peer, reason)
        return None

    def drop(self, node: str, reason: str) -> None:
        """Close our link to a node, if there is one; `tick` connects anew."""
        if (peer := self._outgoing[node].peer) is not None:
            self._hub.disconnect(peer, reason)

    def software(self, node: str) -> str | None:
        """Return the version of Repertory that a node told last; None if it never did."""
        return self._software.get(node)

    def close(self) -> None:
        """Free what is held; connections are the hub's. Idempotent."""
        self._names.shutdown(wait=False, cancel_futures=True)

    # --- our own links

    def _connect(self, link: _Outgoing, now: float) -> None:
        try:
            address = self._address(link)
        except OSError as error:
            self._try_later(link, f"{link.door.host}: {error.strerror or error}")
            return
        if address is None:
            return
        # So that a firewall can tell nodes apart. Empty while our own door is not open yet.
        source, _ = self._hub.tcp_address
        link.peer = self._hub.connect_tcp(
            address,
            link.door.door_port,
            tls=self._tls.client if self._tls is not None else None,
            server_name=link.node,
            source=source if source and not ip_address(source).is_unspecified else None,
        )
        self._peers[link.peer] = link
        link.caller, link.is_up = Caller(self._own, link.node), False
        link.give_up = now + HANDSHAKE_SECONDS

    def _address(self, link: _Outgoing) -> str | None:
        """Return the address of a node's host; None while its name is looked up.

        That may take seconds, so it is done on a thread. Raises an OSError if it is not known.
        """
        if link.address or _is_address(link.door.host):
            return link.address or link.door.host
        if link.lookup is None:
            link.lookup = self._names.submit(_look_up, link.door.host)
        if not link.lookup.done():
            return None
        lookup, link.lookup = link.lookup, None
        link.address = lookup.result()
        return link.address

    def _hear(self, link: _Outgoing, frame: Frame) -> list[LinkEvent]:
        """Take a frame of a node that has not let us in yet."""
        assert link.peer is not None
        if link.caller is None:
            return []  # it said something wrong before, and only has to close
        try:
            match frame.envelope.kind:
                case Envelope.CHALLENGE:
                    hello = link.caller.hello(frame.payload)
                    self._hub.send(link.peer, Envelope(kind=Envelope.HELLO), hello)
                case Envelope.WELCOME:
                    return [self._link_up(link, link.caller.welcomed(frame.payload))]
                case Envelope.FAILURE:
                    why = Failure.FromString(frame.payload).message
                    raise Refused(f"it refuses us: {_printable(why)}")
                case other:
                    raise Refused(f"it sent a frame of kind {other} before it let us in")
        except (Refused, DecodeError) as error:
            link.caller = None
            self._hub.disconnect(link.peer, str(error))
        return []

    def _link_up(self, link: _Outgoing, found: Acquaintance) -> LinkUp:
        assert link.peer is not None
        self._hub.trust(link.peer)
        link.is_up, link.retry, link.caller = True, FIRST_RETRY_SECONDS, None
        self._software[link.node] = found.software
        self._failed.forget(link.node)
        log.info("there is a link to a node", node=link.node, software=found.software)
        return LinkUp(link.node, link.peer, found.protocol, found.software, found.incarnation)

    def _try_later(self, link: _Outgoing, reason: str) -> None:
        where = f"{link.door.host}:{link.door.door_port}"
        self._failed.tell(link.node, reason, where=where)
        link.peer = link.caller = None
        link.address, link.is_up = "", False
        link.not_before = self._clock() + link.retry
        link.retry = min(link.retry * 2, LAST_RETRY_SECONDS)

    # --- who comes in

    def _challenge(self, peer: int, remote: str) -> None:
        keeper = Keeper(self._own)
        self._strangers[peer] = keeper, remote
        self._hub.send(peer, Envelope(kind=Envelope.CHALLENGE), keeper.challenge())

    def _hear_stranger(self, peer: int, frame: Frame) -> list[LinkEvent]:
        keeper, remote = self._strangers[peer]
        if keeper is None:
            return []
        try:
            if frame.envelope.kind != Envelope.HELLO:
                raise Refused(f"it sent a frame of kind {frame.envelope.kind} in place of a HELLO")
            found, welcome = keeper.welcome(frame.payload, self._hub.certified(peer))
        except Refused as error:
            self._refuse(peer, remote, str(error))
            return []
        del self._strangers[peer]
        self._hub.send(peer, Envelope(kind=Envelope.WELCOME), welcome)
        return [self._let_in(peer, remote, found)]

    def _let_in(self, peer: int, remote: str, found: Acquaintance) -> CallerIn:
        self._hub.trust(peer)
        if (former := self._callers.get(found.node)) is not None:
            self._hub.disconnect(former, "its node has connected anew")
        self._callers[found.node] = peer
        self._software[found.node] = found.software
        self._refused.forget(_host(remote))
        log.info("a node came in", node=found.node, remote=remote, software=found.software)
        return CallerIn(found.node, peer, found.protocol, found.software, found.incarnation)

    def _refuse(self, peer: int, remote: str, reason: str) -> None:
        self._strangers[peer] = None, remote
        failure = Failure(code=FailureCode.REJECTED, message=reason)
        self._hub.send(peer, Envelope(kind=Envelope.FAILURE), failure.SerializeToString())
        self._hub.flush()
        self._hub.disconnect(peer, reason)

    def _closed(self, peer: int, reason: str) -> list[LinkEvent] | None:
        if (stranger := self._strangers.pop(peer, None)) is not None:
            self._refused.tell(_host(stranger[1]), reason)
            return []
        if (link := self._peers.pop(peer, None)) is not None:
            was_up = link.is_up
            self._try_later(link, reason)
            return [LinkDown(link.node, peer, reason)] if was_up else []
        for node, caller in self._callers.items():
            if caller == peer:
                del self._callers[node]
                break
        return None


def _host(remote: str) -> str:
    return remote.rpartition(":")[0]


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:_REASON_CHARACTERS])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str) -> str:
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
