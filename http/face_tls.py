"""TLS of the HTTP face."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from repertory.actors.tls import tls_file, tls_reason
from repertory.config import HttpTls
from repertory.errors import ConfigError

if TYPE_CHECKING:
    import grpc


class KeyPair(NamedTuple):
    """A private key and its certificates, PEM; and who signs clients' if they have to show one."""

    key: bytes
    certificates: bytes
    client_ca: bytes | None = None

    def grpc_credentials(self) -> "grpc.ServerCredentials":
        """Return what a gRPC server needs."""
        import grpc  # 14 MB that others do without

        return grpc.ssl_server_credentials(
            [(self.key, self.certificates)], self.client_ca, self.client_ca is not None
        )


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
    clients = _read(tls.client_ca, node) if tls.grpc_clients and tls.client_ca else None
    return KeyPair(_read(tls.key, node), _read(tls.certificate, node), clients)


@lru_cache(1024)  # all calls of a connection show the same
def certificate_names(pem: bytes) -> frozenset[str]:
    """Return the names in a certificate: as `certified_names` does, of what gRPC gives."""
    from cryptography import x509  # megabytes that those without client certificates do without
    from cryptography.x509.oid import NameOID

    certificate = x509.load_pem_x509_certificate(pem)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return frozenset(names or [str(each.value) for each in common])


def _read(path: Path, node: str) -> bytes:
    return tls_file(path, node).read_bytes()


def _no_password() -> str:
    raise ConfigError("http.tls.key: the key is encrypted; one without a password is needed")
