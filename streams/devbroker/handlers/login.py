"""SaslHandshake and SaslAuthenticate: logging in by name and password (SASL PLAIN, RFC 4616)."""

import hmac

from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.protocol import ErrorCode
from repertory.streams.devbroker.request import Node, Request

_PLAIN = "PLAIN"


async def sasl_handshake(_node: Node, request: Request) -> Writer:
    """Agree on the one mechanism there is."""
    known = request.read.string() == _PLAIN
    error = ErrorCode.NONE if known else ErrorCode.UNSUPPORTED_SASL_MECHANISM
    writer = request.answer().int16(error)
    return writer.array([_PLAIN], writer.string)


async def sasl_authenticate(node: Node, request: Request) -> Writer:
    """Check name and password."""
    fields = bytes(request.read.blob()).split(b"\0")
    name, password = (fields[1], fields[2]) if len(fields) == 3 else (b"", b"")
    expected = node.settings.users.get(name.decode(errors="replace"))
    request.peer.authenticated = expected is not None and hmac.compare_digest(
        expected.encode(), password
    )
    known = request.peer.authenticated
    writer = request.answer()
    writer.int16(ErrorCode.NONE if known else ErrorCode.SASL_AUTHENTICATION_FAILED)
    writer.string(None if known else "unknown name or wrong password").blob(b"")
    return writer.int64(0) if request.version >= 1 else writer
