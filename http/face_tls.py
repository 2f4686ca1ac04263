"""TLS of the HTTP face."""

import ssl
from pathlib import Path
from typing import NamedTuple

from repertory.actors.tls import tls_file, tls_reason
from repertory.config import HttpTls
from repertory.errors import ConfigError


class KeyPair(NamedTuple):
    """A private key and its certificates, PEM."""

    key: bytes
    certificates: bytes


def server_context(tls: HttpTls, node: str) -> ssl.SSLContext:
    """Return what is needed to accept connections. Raises ConfigError, naming key and file.

    A client need not show a certificate: a token will do, and probes need neither. One that it
    shows must be by `client_ca`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = tls_file(tls.certificate, node), tls_file(tls.key, node)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:
        raise ConfigError(
            f"http.tls.certificate, http.tls.key: {certificate}, {key}: {tls_reason(error)}"
        ) from error
    if tls.client_ca is not None:
        authority = tls_file(tls.client_ca, node)
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise ConfigError(f"http.tls.client_ca: {authority}: {tls_reason(error)}") from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def key_pair(tls: HttpTls, node: str) -> KeyPair:
    """Return the key and certificates, which `server_context` has found to be good."""
    return KeyPair(_read(tls.key, node), _read(tls.certificate, node))


def _read(path: Path, node: str) -> bytes:
    return tls_file(path, node).read_bytes()


def _no_password() -> str:
    raise ConfigError("http.tls.key: the key is encrypted; one without a password is needed")
