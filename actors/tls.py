"""TLS between nodes: each proves by its certificate which node it is.

The name of a node is not a host's: it is compared with the certificate's names as it is, without
wildcards, and upper and lower case differ.
"""

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repertory.config import Tls
from repertory.errors import ConfigError

_CHUNK = 256 * 1024
# OpenSSL gives one record at a time. Room for more of it is taken from the kernel, and given back.
_RECORD = 16 * 1024


class TlsContexts:
    """What a node needs to accept connections, and to make them, over mutual TLS 1.3."""

    def __init__(self, tls: Tls, node: str) -> None:
        """Read the files. Raises ConfigError, naming the key and the file at fault."""
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, tls, node)
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, tls, node)


def tls_file(path: Path, node: str) -> Path:
    """Return the file that a key of cluster.tls names, for this node."""
    return Path(str(path).replace("{node}", node))


def _context(kind: Any, tls: Tls, node: str) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # both ends are ours
    context.check_hostname = False  # see check_name
    context.verify_mode = ssl.CERT_REQUIRED
    authority = tls_file(tls.authority, node)
    try:
        context.load_verify_locations(authority)
    except OSError as error:
        raise ConfigError(f"cluster.tls.authority: {authority}: {tls_reason(error)}") from error
    certificate, key = tls_file(tls.certificate, node), tls_file(tls.key, node)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:
        raise ConfigError(
            f"cluster.tls.certificate, cluster.tls.key: {certificate}, {key}: {tls_reason(error)}"
        ) from error
    return context


def _no_password() -> str:
    raise ConfigError("cluster.tls.key: the key is encrypted; one without a password is needed")


def tls_reason(error: Exception) -> str:
    """Return what went wrong, as a person would say it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        # Python gives no reason for a file that holds anything but PEM.
        return f"TLS failed: {(error.reason or 'NO_PEM').lower().replace('_', ' ')}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def certified_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names in a certificate as `SSLObject.getpeercert` gives it.

    Its alternative names, or its common name if it has none.
    """
    found = certificate or {}
    names = [str(value) for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
    if not names:
        pairs = [pair for group in found.get("subject", ()) for pair in group]
        names = [value for kind, value in pairs if kind == "commonName"]
    return frozenset(names)


class TlsSession:
    """One end of a connection over TLS, as bytes in and bytes out: it has no socket."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    def shake(self, data: bytes) -> bool:
        """Take what came, and return whether the handshake is done. Raises ssl.SSLError."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, data: bytes) -> bytes:
        """Take what came, and return all that can be read of it. Raises ssl.SSLError."""
        self._incoming.write(data)
        found = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):
            while chunk := self._object.read(_RECORD):
                found += chunk
        return bytes(found)

    def encrypt(self, data: bytes) -> None:
        """Take what is to be sent, once the handshake is done."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._object.write(rest[:_CHUNK]) :]

    def outgoing(self) -> bytes:
        """Return what is to be sent by now."""
        return self._outgoing.read()

    @property
    def names(self) -> frozenset[str]:
        """The names in the peer's certificate, once the handshake is done."""
        return certified_names(self._object.getpeercert())

    def check_name(self, name: str) -> None:
        """Raise a ConnectionError unless the peer's certificate has this name."""
        if name not in (names := self.names):
            said = ", ".join(sorted(names)) or "nobody"
            raise ConnectionError(f"its certificate is {said}'s, not {name}'s")


def rehearse(tls: Tls, node: str) -> str | None:
    """Let a node meet itself; return why others would refuse its certificate, None: they would not.

    Raises ConfigError when a file cannot be used.
    """
    contexts = TlsContexts(tls, node)
    client = TlsSession(contexts.client, server_side=False)
    server = TlsSession(contexts.server, server_side=True)
    try:
        client.shake(b"")
        while not server.shake(client.outgoing()):
            client.shake(server.outgoing())
    except ssl.SSLError as error:
        return tls_reason(error)
    return None
