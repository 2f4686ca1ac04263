"""Signatures of models: who vouches that this content, of this type, is for this data type.

What is signed, with Ed25519 (RFC 8032), are these four lines, each ended by one line feed:

    repertory-model-signature-1
    sha256:<64 hexadecimal digits in lower case: of the content, or of a folder's files>
    type:<ModelType, as in ModelDescriptor>
    data_type:<the data type that it is for>

The first line tells them from whatever else a key may ever sign. A signature is written
`ed25519:<fingerprint>:<base64 of 64 bytes>`, and a public key `ed25519:<base64 of 32 bytes>`. The
fingerprint of a key is the start of its SHA-256, and only says which key to try.
"""

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from repertory.errors import ConfigError, ModelRejected

_PURPOSE = "repertory-model-signature-1"
_ALGORITHM = "ed25519"
_SIGNATURE = re.compile(rf"{_ALGORITHM}:([0-9a-f]{{16}}):([A-Za-z0-9+/]{{86}}==)")
_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Statement:
    """What a signature vouches for."""

    sha256: str  # of the content; of a folder, see `folder_digest`
    model_type: str
    data_type: str

    def to_bytes(self) -> bytes:
        """Return what is signed."""
        lines = (
            _PURPOSE,
            f"sha256:{self.sha256}",
            f"type:{self.model_type}",
            f"data_type:{self.data_type}",
        )
        return "".join(f"{line}\n" for line in lines).encode()


class SigningKey:
    """A private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls, path: Path) -> "SigningKey":
        """Make a key, and its file, which its owner alone can read. Raises ConfigError."""
        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(data)
        except FileExistsError as error:
            raise ConfigError(f"{path}: is there already; a key is never replaced") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """Read the key in a file, PEM without a passphrase. Raises ConfigError."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except TypeError as error:
            raise ConfigError(f"{path}: has a passphrase; one without is needed") from error
        except ValueError as error:
            raise ConfigError(f"{path}: is no private key in PEM") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path}: is no Ed25519 key; repertory sign --new-key makes one")
        return cls(key)

    @property
    def public(self) -> str:
        """The public key, as `models.trusted_keys` takes it."""
        return f"{_ALGORITHM}:{base64.b64encode(self._raw).decode()}"

    @property
    def fingerprint(self) -> str:
        """How the key is called."""
        return _fingerprint(self._raw)

    def sign(self, statement: Statement) -> str:
        """Return the signature. The same statement has the same one."""
        signature = base64.b64encode(self._key.sign(statement.to_bytes())).decode()
        return f"{_ALGORITHM}:{self.fingerprint}:{signature}"

    @property
    def _raw(self) -> bytes:
        return self._key.public_key().public_bytes_raw()


class TrustedKeys:
    """The public keys whose signatures count; none: no model needs a signature."""

    def __init__(self, keys: Iterable[str]) -> None:
        raw = [base64.b64decode(key.removeprefix(f"{_ALGORITHM}:")) for key in keys]
        self._keys = {_fingerprint(each): Ed25519PublicKey.from_public_bytes(each) for each in raw}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def signer(self, statement: Statement, signature: str) -> str:
        """Return the fingerprint of the key that vouches for this. Raises ModelRejected."""
        if not signature:
            raise ModelRejected(
                "the model is not signed, and models.trusted_keys is set: repertory sign"
            )
        match = _SIGNATURE.fullmatch(signature)
        if match is None:
            raise ModelRejected(
                "the model's signature is none: it must be as repertory sign writes it,"
                f" not {signature!r:.60}"
            )
        fingerprint, text = match.groups()
        key = self._keys.get(fingerprint)
        if key is None:
            raise ModelRejected(
                f"the model is signed by key {fingerprint}, which is not in models.trusted_keys"
            )
        try:
            key.verify(base64.b64decode(text), statement.to_bytes())
        except InvalidSignature as error:
            raise ModelRejected(
                f"the model's signature is not one of key {fingerprint} for this content, type"
                f" {statement.model_type} and data type {statement.data_type}"
            ) from error
        return fingerprint


def _fingerprint(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:_FINGERPRINT_DIGITS]
