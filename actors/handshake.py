"""How two routers prove to each other that they know the cluster's secret, and agree. Pure.

    keeper -> caller  CHALLENGE  version of the protocol, nonce, node
    caller -> keeper  HELLO      versions, node, incarnation, nonce, proof, agreement
    keeper -> caller  WELCOME    version that is spoken, node, incarnation, proof; or FAILURE

The keeper is whose door it is. A proof is an HMAC-SHA256 with the secret over the role of who
proves, both nonces, both nodes and all versions, each with its length before it. So what one side
said is of no use as the other side's answer, on another connection, to another node, or for
speaking an older version than both can. It says nothing about the frames that follow: without TLS
whoever sits on the way can change them.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError

from repertory.actors.agreement import disagreement
from repertory.errors import RepertoryError
from repertory.protos.door_pb2 import Challenge, Hello, Welcome

PEER_PROTOCOL = 2
# Version 1 has no Envelope.position, and its beats have a data type's position alone, without
# whether a policy stands before it: what a router of that version passes on may be older.
OLDEST_PEER_PROTOCOL = 1

PEER_ROLE = "peer"
_NONCE_BYTES = 32

M = TypeVar("M", Challenge, Hello, Welcome)


class Refused(RepertoryError):
    """The other side is not let in, or we do not go in; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, for others."""

    node: str
    incarnation: str
    software: str
    secret: bytes = field(repr=False)
    nodes: frozenset[str]  # of our cluster.yaml
    agreement: Mapping[str, str] = field(repr=False)
    newest: int = PEER_PROTOCOL
    oldest: int = OLDEST_PEER_PROTOCOL


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """Who the other side has proved to be, and what version of the protocol is spoken."""

    node: str
    incarnation: str
    software: str
    protocol: int


class Keeper:
    """The side whose door it is, for one connection."""

    def __init__(self, own: Identity) -> None:
        self._own = own
        self._nonce = secrets.token_bytes(_NONCE_BYTES)

    def challenge(self) -> bytes:
        """Return the payload of the CHALLENGE."""
        own = self._own
        return Challenge(protocol=own.newest, nonce=self._nonce, node=own.node).SerializeToString()

    def welcome(
        self, payload: bytes, certified: frozenset[str] | None = None
    ) -> tuple[Acquaintance, bytes]:
        """Take the payload of a HELLO; return who came, and the payload of the WELCOME.

        `certified` are the names in the caller's certificate; None: there is no TLS. Raises Refused.
        """
        own, hello = self._own, _parsed(Hello, payload)
        if hello.role != PEER_ROLE:
            raise Refused(f"only routers of other nodes come in here, not {hello.role!r:.40}")
        spoken = _spoken(own, hello.name, hello.protocol, hello.oldest_protocol)
        transcript = _Transcript(
            hello.nonce, self._nonce, hello.name, own.node, hello.protocol, own.newest
        )
        told = (hello.incarnation, hello.software, str(hello.oldest_protocol))
        if not _is_proved(hello.nonce, hello.proof, transcript.proof(own.secret, "caller", told)):
            raise Refused(f"{_named(hello.name)} does not know the cluster's secret")
        self._admit(hello, certified)
        welcome = Welcome(
            protocol=spoken, node=own.node, incarnation=own.incarnation, software=own.software
        )
        told = (own.incarnation, own.software, str(spoken))
        welcome.proof = transcript.proof(own.secret, "keeper", told)
        found = Acquaintance(hello.name, hello.incarnation, hello.software, spoken)
        return found, welcome.SerializeToString()

    def _admit(self, hello: Hello, certified: frozenset[str] | None) -> None:
        own = self._own
        if hello.name == own.node:
            raise Refused(f"it says that it is node {own.node}, which is this one")
        if hello.name not in own.nodes:
            raise Refused(f"node {hello.name} is not in node {own.node}'s cluster.yaml")
        if certified is not None and hello.name not in certified:
            names = ", ".join(sorted(certified)) or "nobody"
            raise Refused(f"it says that it is node {hello.name}, but its certificate is {names}'s")
        if differs := disagreement(own.agreement, hello.agreement, hello.name, own.node):
            raise Refused(differs)


class Caller:
    """The side that connected to a node's door, for one connection."""

    def __init__(self, own: Identity, wanted: str) -> None:
        self._own = own
        self._wanted = wanted
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        self._transcript: _Transcript | None = None

    def hello(self, payload: bytes) -> bytes:
        """Take the payload of a CHALLENGE; return that of the HELLO. Raises Refused."""
        own, challenge = self._own, _parsed(Challenge, payload)
        if challenge.node != self._wanted:
            raise Refused(f"{_named(challenge.node)} is there, not node {self._wanted}")
        # What it speaks besides its newest version, it does not say; it refuses us if need be.
        _spoken(own, challenge.node, challenge.protocol, 0)
        if len(challenge.nonce) != _NONCE_BYTES:
            raise Refused("its challenge is no challenge")
        self._transcript = _Transcript(
            self._nonce, challenge.nonce, own.node, self._wanted, own.newest, challenge.protocol
        )
        told = (own.incarnation, own.software, str(own.oldest))
        return Hello(
            protocol=own.newest,
            oldest_protocol=own.oldest,
            role=PEER_ROLE,
            name=own.node,
            incarnation=own.incarnation,
            software=own.software,
            nonce=self._nonce,
            proof=self._transcript.proof(own.secret, "caller", told),
            agreement=own.agreement,
        ).SerializeToString()

    def welcomed(self, payload: bytes) -> Acquaintance:
        """Take the payload of a WELCOME, after the HELLO; return who is there. Raises Refused."""
        own, transcript, welcome = self._own, self._transcript, _parsed(Welcome, payload)
        if transcript is None:
            raise Refused("it said WELCOME before there was a HELLO")
        told = (welcome.incarnation, welcome.software, str(welcome.protocol))
        proof = transcript.proof(own.secret, "keeper", told)
        if not hmac.compare_digest(welcome.proof, proof):
            raise Refused(f"node {self._wanted} does not know the cluster's secret")
        if not own.oldest <= welcome.protocol <= own.newest:
            raise Refused(f"node {self._wanted} speaks version {welcome.protocol}, not ours")
        return Acquaintance(
            self._wanted, welcome.incarnation, welcome.software, int(welcome.protocol)
        )


@dataclass(frozen=True, slots=True)
class _Transcript:
    caller_nonce: bytes
    keeper_nonce: bytes
    caller: str
    keeper: str
    caller_newest: int
    keeper_newest: int

    def proof(self, secret: bytes, role: str, told: tuple[str, ...]) -> bytes:
        """Return what proves that `role` knows the secret, and told these things."""
        texts = (
            *("repertory door", role, self.caller, self.keeper),
            *(str(self.caller_newest), str(self.keeper_newest)),
            *told,
        )
        parts = [self.caller_nonce, self.keeper_nonce, *(text.encode() for text in texts)]
        return hmac.digest(
            secret, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256"
        )


def _spoken(own: Identity, node: str, newest: int, oldest: int) -> int:
    spoken = min(own.newest, newest)
    if spoken < max(own.oldest, oldest):
        ours, theirs = _versions(own.oldest, own.newest), _versions(oldest, newest)
        raise Refused(
            f"{_named(node)} speaks version {theirs} of the protocol,"
            f" node {own.node} version {ours}: upgrade the older one"
        )
    return spoken


def _versions(oldest: int, newest: int) -> str:
    return str(newest) if oldest in (0, newest) else f"{oldest} to {newest}"


def _is_proved(nonce: bytes, proof: bytes, expected: bytes) -> bool:
    return len(nonce) == _NONCE_BYTES and hmac.compare_digest(proof, expected)


def _named(node: str) -> str:
    # Whoever has proved nothing may call himself anything.
    return f"node {node:.63}" if node.isprintable() and node else "a nameless node"


def _parsed(kind: type[M], payload: bytes) -> M:
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise Refused(f"what it sent is no {kind.DESCRIPTOR.name}") from error
