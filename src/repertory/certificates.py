"""Certificates for the doors between nodes: making a set for development, and looking at one."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from repertory.errors import ConfigError

# Clocks of hosts differ; a certificate is valid from a little before it was made.
_EARLIER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """Where the files of a set are. No name of a node makes two of them the same."""

    folder: Path

    @property
    def authority(self) -> Path:
        """Certificate of the authority; every node needs it."""
        return self.folder / "authority.pem"

    @property
    def authority_key(self) -> Path:
        """Its key; no node needs it."""
        return self.folder / "authority.key"

    def certificate(self, node: str) -> Path:
        """Certificate of a node."""
        return self.folder / f"node-{node}.pem"

    def key(self, node: str) -> Path:
        """Key of a node; nobody else needs it."""
        return self.folder / f"node-{node}.key"


def make_certificates(
    files: CertificateSet, hosts: Mapping[str, str], *, days: int, anew: bool = False
) -> Iterator[Path]:
    """Make what is missing of a set for these nodes (with their hosts); yield what was written.

    `anew` makes everything again: certificates of the former authority are of no use then. Raises
    ConfigError when the authority of a set cannot be used.
    """
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if anew or not files.authority.exists():
        key, authority = _new_authority(days)
        yield _write_key(files.authority_key, key)
        yield _write(files.authority, authority)
        missing: Iterable[str] = hosts
    else:
        key, authority = _authority(files)
        missing = [node for node in hosts if not files.certificate(node).exists()]
    for node in missing:
        own = ec.generate_private_key(ec.SECP256R1())
        names = _names(node, hosts)
        until = min(_now() + timedelta(days=days), authority.not_valid_after_utc)
        yield _write_key(files.key(node), own)
        yield _write(files.certificate(node), _certificate(own, names, key, authority, until))


def certified(certificate: x509.Certificate) -> list[str]:
    """Return the names in a certificate: its alternative ones, or else its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(name.value) for name in names]
    return found.value.get_values_for_type(x509.DNSName)


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a file. Raises an OSError or a ValueError."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def _new_authority(days: int) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Repertory development authority")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    made = (
        _builder(key, until=_now() + timedelta(days=days))
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, made


def _authority(files: CertificateSet) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        certificate = read_certificate(files.authority)
        key = load_pem_private_key(files.authority_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{files.authority}, {files.authority_key}: the authority cannot be used, so no"
            f" certificate can be added ({error}); --force makes a new one, and new ones for all"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{files.authority_key}: this is no key of `repertory certs`")
    return key, certificate


def _certificate(
    own: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    until: datetime,
) -> x509.Certificate:
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(own, until=until)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0].value)]))
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _builder(key: ec.EllipticCurvePrivateKey, *, until: datetime) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in every})


def _names(node: str, hosts: Mapping[str, str]) -> list[x509.GeneralName]:
    """Return the names of a node: its own, and its host, unless that is how another is called."""
    host = hosts[node]
    names: list[x509.GeneralName] = [x509.DNSName(node)]
    try:
        names.append(x509.IPAddress(ip_address(host)))
    except ValueError:
        if host not in hosts:
            names.append(x509.DNSName(host))
    return names


def _now() -> datetime:
    return datetime.now(UTC)


def _write(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.unlink(missing_ok=True)  # one with other rights, or a link
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(data)
    return path
