"""Thespian's TCP base, hardened: it listens on one address, and every message is signed.

Thespian 4.0.1 listens on all addresses and unpickles whatever arrives: whoever can connect can run
code. Here each process binds to the node's one address, and nothing is unpickled before its HMAC
is checked. The signature covers the receiver's address and a nonce, so that a frame that was
listened to is refused elsewhere and refused the second time. There is no encryption: between hosts
use a private network. The key is random for a single node; the nodes of a cluster derive the same
one from its secret, and their clocks must agree within ten minutes.

This overrides private methods: thespian is pinned to 4.0.1, and tests/actors/test_wire.py watches.
"""

import hmac
import os
import pickle
import secrets
import socket
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from thespian.actors import ActorAddress, ActorSystem, ActorSystemConventionUpdate
from thespian.system import multiprocCommon
from thespian.system.logdirector import LogAggregator
from thespian.system.messages.convention import (
    ConventionDeRegister,
    ConventionRegister,
    NotifyOnSystemRegistration,
)
from thespian.system.multiprocCommon import multiprocessCommon
from thespian.system.systemBase import systemBase
from thespian.system.timing import ExpirationTimer
from thespian.system.transport import ExternalInterfaceTransportInit
from thespian.system.transport.IPBase import TCPv4ActorAddress, thisSystem
from thespian.system.transport.streamBuffer import ackDataErrPacket, ackPacket
from thespian.system.transport.TCPTransport import (
    ExternalTransportCopy,
    TCPEndpoint,
    TCPTransport,
)

from repertory.actors.lifeline import hold_lifeline

ADDRESS_VARIABLE = "THESPIAN_BASE_IPADDR"  # Thespian's own: the address it advertises
KEY_VARIABLE = "REPERTORY_WIRE_KEY"

# Control messages are small; a larger frame is an attack on our memory.
MESSAGE_LIMIT = 4 * 1024 * 1024
# Thespian sends a message again for at most five minutes; a nonce is remembered for longer.
NONCE_SECONDS = 600.0
# What another system is told of the convention is given up after this. In Thespian's five minutes
# so much of it would pile up for a leader that is frozen that the admin would send nothing at all
# any more, and create no actor.
CONVENTION_PERIOD = timedelta(seconds=3)
LISTEN_PERIOD = timedelta(seconds=30)
# For the admin's process to come up, which takes a third of a second; on a host that has far too
# much to do, Thespian's own five seconds are not enough.
ADMIN_SECONDS = 14.0

_MAC_SIZE = 32
_STAMP = struct.Struct(">d16s")  # seconds since the epoch, nonce
# The only frames that are accepted unsigned, compared as bytes and never unpickled.
_ACKS = {pickle.dumps(packet): packet for packet in (ackPacket, ackDataErrPacket)}


class FrameRefused(ValueError):
    """A message is unsigned, wrongly signed, for somebody else, too old, or seen before."""


class Signer:
    """Signs what this process sends and checks what it receives."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def sign(self, message: object, receiver: str) -> bytes:
        """Return the signed bytes of a message for `receiver` (`address:port`)."""
        stamp = _STAMP.pack(self._clock(), secrets.token_bytes(16))
        body = pickle.dumps(message)
        return self._mac(receiver, stamp + body) + stamp + body

    def check(self, frame: bytes, receiver: str) -> Any:
        """Return the message in a frame. Raises FrameRefused, without having unpickled it."""
        if frame in _ACKS:
            return _ACKS[frame]
        signed = bytes(frame[_MAC_SIZE:])
        mac = self._mac(receiver, signed)
        if len(signed) < _STAMP.size or not hmac.compare_digest(frame[:_MAC_SIZE], mac):
            raise FrameRefused("an unsigned or wrongly signed message was refused")
        self._check_stamp(*_STAMP.unpack_from(signed))
        return pickle.loads(memoryview(signed)[_STAMP.size :])

    def _mac(self, receiver: str, signed: bytes) -> bytes:
        return hmac.digest(self._key, receiver.encode() + b"\0" + signed, "sha256")

    def _check_stamp(self, sent: float, nonce: bytes) -> None:
        now = self._clock()
        if abs(now - sent) > NONCE_SECONDS:
            raise FrameRefused("a message was refused that is too old, or of a wrong clock")
        if nonce in self._seen:
            raise FrameRefused("a message was refused that had come before")
        self._seen[nonce] = now
        while now - next(iter(self._seen.values())) > 2 * NONCE_SECONDS:
            self._seen.popitem(last=False)


def _bound_address() -> str:
    return os.environ.get(ADDRESS_VARIABLE, "127.0.0.1")


def _our_address(port: int = 0) -> ActorAddress:
    # external=False makes Thespian bind to the address itself instead of to all of them.
    return ActorAddress(TCPv4ActorAddress(_bound_address(), port, external=False))


def _where(address: ActorAddress) -> str:
    host, port = address.addressDetails.connectArgs[0][:2]
    return f"{host}:{port}"


class HardenedTransport(TCPTransport):  # type: ignore[misc]
    """One bind address, signed frames, and a lifeline in every process that Thespian starts."""

    def __init__(self, how: object, *args: Any) -> None:
        self._signer = Signer(bytes.fromhex(os.environ[KEY_VARIABLE]))
        # Thespian takes all addresses of this host for the same one, and so the admin of another
        # node on this host, at the same port, for this node's.
        thisSystem._myAddresses = {"", None, socket.gethostbyname(_bound_address())}
        hold_lifeline()
        if isinstance(how, ExternalInterfaceTransportInit):
            admin = self.getAdminAddr(args[0])
            how, args = TCPEndpoint(None, _our_address(), None, admin, False, False), ()
        elif isinstance(how, ExternalTransportCopy):
            admin, tx_only, routing = args
            how, args = TCPEndpoint(None, _our_address(), None, admin, routing, tx_only), ()
        elif isinstance(how, TCPEndpoint):
            number, assigned, parent, admin, routing, tx_only = how.args
            assigned = assigned or _our_address()
            how = TCPEndpoint(number, assigned, parent, admin, routing, tx_only)
        super().__init__(how, *args)

    @staticmethod
    def getAdminAddr(capabilities: Mapping[str, Any]) -> ActorAddress:
        """Return the admin's address."""
        return _our_address(capabilities.get("Admin Port", 1900))

    def external_transport_clone(self) -> "HardenedTransport":
        """Return a transport of its own for a private context of this process."""
        return HardenedTransport(ExternalTransportCopy(), self._adminAddr, self.txOnly, False)

    def scheduleTransmit(self, manager: Any, intent: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a message, now or as soon as may be."""
        if isinstance(intent.message, ConventionRegister | ConventionDeRegister):
            intent._quitTime = ExpirationTimer(CONVENTION_PERIOD)
        return super().scheduleTransmit(manager, intent, *args, **kwargs)

    def serializer(self, intent: Any) -> bytes:
        """Return the frame of an outgoing message."""
        if isinstance(intent.message, LogAggregator):
            # The logger would send warnings to the leader, and block while that one is frozen.
            intent.message.aggregatorAddress = None
        signed = self._signer.sign((self.myAddress, intent.message), _where(intent.targetAddr))
        return b"%d>" % len(signed) + signed

    def lostRemote(self, remote: ActorAddress) -> None:
        """Drop connections to another node's admin that is gone.

        Thespian would drop those to all of its host, which may be ours.
        """
        theirs = remote.addressDetails.connectArgs
        for key, idle in list(getattr(self, "_openSockets", {}).items()):
            if idle.rmtaddr.addressDetails.connectArgs == theirs:
                idle.socket.close()
                del self._openSockets[key]
        for fileno, intent in list(self._transmitIntents.items()):
            if intent.targetAddr.addressDetails.connectArgs == theirs:
                self._cancel_fd_ops(fileno)

    def _check(self, frame: bytes) -> Any:
        return self._signer.check(frame, _where(self.myAddress))

    def _handlePossibleIncoming(self, inc: Any, *args: Any, **kwargs: Any) -> Any:
        if inc is not None:
            inc._rData._deserialize = self._check
        return super()._handlePossibleIncoming(inc, *args, **kwargs)

    def _addedDataToIncoming(self, inc: Any, *args: Any, **kwargs: Any) -> Any:
        inc._rData._deserialize = self._check
        if not _may_go_on(inc._rData):
            inc.close()
            return None
        return super()._addedDataToIncoming(inc, *args, **kwargs)

    def _check_XMIT_4_done(self, intent: Any, received: bytes) -> Any:
        intent.ackbuf._deserialize = self._check
        try:
            return super()._check_XMIT_4_done(intent, received)
        except ValueError:  # no acknowledgement but garbage, where Thespian would drop the message
            intent.backoffPause(True)
            intent.stage = self._XMITStepRetry
            return self._nextTransmitStep(intent)


def _may_go_on(buffer: Any) -> bool:
    """Tell whether what has come of a frame, which begins with `<size>>`, may become one."""
    if buffer._size is None:
        return bool(len(buffer._buf) <= len(str(MESSAGE_LIMIT)))
    return bool(0 < buffer._size <= MESSAGE_LIMIT)


class _HardenedBase(multiprocessCommon):  # type: ignore[misc]
    transportType = HardenedTransport

    def __init__(self, system: Any, log_defs: Mapping[str, Any] | None = None) -> None:
        system.capabilities.update(
            {
                "Thespian ActorSystem Name": "repertory",
                "Thespian ActorSystem Version": 2,
                "Thespian Watch Supported": True,
            }
        )
        super().__init__(system, log_defs)


class _Capabilities:
    def __init__(self, capabilities: dict[str, Any]) -> None:
        self.capabilities = capabilities


def actor_system(*, admin_port: int, capabilities: Mapping[str, Any] | None = None) -> ActorSystem:
    """Start a node's actor system, or join the one whose admin listens on `admin_port`.

    The environment holds the key (KEY_VARIABLE, hexadecimal) and the bind address. Processes are
    started by spawn: TensorFlow, the JVM and librdkafka hang in forked ones.
    """
    everything = {
        **(capabilities or {}),
        "Admin Port": admin_port,
        "Process Startup Method": "spawn",
    }
    multiprocCommon.MAX_ADMIN_STARTUP_DELAY = timedelta(seconds=ADMIN_SECONDS)
    return ActorSystem(_HardenedBase(_Capabilities(everything)), transientUnique=True)


def update_capability(system: ActorSystem, name: str, value: object) -> None:
    """Change a capability of a system; on a connection of its own, from any thread.

    Blocks for five seconds at most, and raises what Thespian raises, when the admin does not answer.
    """
    with system.private() as context:
        systemBase.updateCapability(context._systemBase, name, value)


def convention_updates(system: ActorSystem) -> Iterator[ActorSystemConventionUpdate]:
    """Yield what the admin tells of other systems that come and go; blocks, on a thread of its own.

    Only a leader is told of its members; a member is told of its leader alone.
    """
    with system.private() as context:
        base = context._systemBase
        base._tx_to_admin(NotifyOnSystemRegistration(base.transport.myAddress, True))
        while True:
            # listen() would keep from us what is between systems.
            told = getattr(base._run_transport(LISTEN_PERIOD), "message", None)
            if isinstance(told, ActorSystemConventionUpdate):
                yield told


def pack_address(address: ActorAddress) -> bytes:
    """Return an actor's address as signed bytes, for a door."""
    return Signer(bytes.fromhex(os.environ[KEY_VARIABLE])).sign(address, "door")


def unpack_address(data: bytes) -> ActorAddress:
    """Return the address that `pack_address` packed. Raises FrameRefused."""
    address: ActorAddress = Signer(bytes.fromhex(os.environ[KEY_VARIABLE])).check(data, "door")
    return address
