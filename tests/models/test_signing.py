"""A signature is for one content, one type and one data type, by one key; for nothing else."""

import base64
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.config import ClusterConfig, parse_config
from repertory.errors import ConfigError, ModelRejected
from repertory.models.signing import SigningKey, Statement, TrustedKeys

WINE = Statement("ab" * 32, "ONNX", "wine")
WINES = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH", "alcohol"]}


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.make(tmp_path / "one.key")


@pytest.fixture
def other(tmp_path: Path) -> SigningKey:
    return SigningKey.make(tmp_path / "other.key")


def test_who_signed_is_told(key: SigningKey, other: SigningKey) -> None:
    trusted = TrustedKeys([other.public, key.public])
    assert trusted.signer(WINE, key.sign(WINE)) == key.fingerprint
    assert trusted.signer(WINE, other.sign(WINE)) == other.fingerprint != key.fingerprint


@pytest.mark.parametrize(
    "change", [{"sha256": "ac" * 32}, {"model_type": "PMML"}, {"data_type": "beer"}]
)
def test_a_signature_for_anything_else_is_refused(key: SigningKey, change: dict[str, str]) -> None:
    signature = key.sign(replace(WINE, **change))
    with pytest.raises(ModelRejected, match=r"type ONNX and data type wine"):
        TrustedKeys([key.public]).signer(WINE, signature)


def test_a_key_that_is_not_trusted_is_named(key: SigningKey, other: SigningKey) -> None:
    with pytest.raises(ModelRejected, match=rf"{other.fingerprint}, which is not in models\.tr"):
        TrustedKeys([key.public]).signer(WINE, other.sign(WINE))


def test_another_key_under_a_trusted_one_s_fingerprint_is_refused(
    key: SigningKey, other: SigningKey
) -> None:
    forged = other.sign(WINE).replace(other.fingerprint, key.fingerprint)
    with pytest.raises(ModelRejected, match="not one of key"):
        TrustedKeys([key.public]).signer(WINE, forged)


@pytest.mark.parametrize("where", range(0, 64, 7))
def test_one_flipped_bit_is_refused(key: SigningKey, where: int) -> None:
    head, _, text = key.sign(WINE).rpartition(":")
    raw = bytearray(base64.b64decode(text))
    raw[where] ^= 1
    with pytest.raises(ModelRejected, match="not one of key"):
        TrustedKeys([key.public]).signer(WINE, f"{head}:{base64.b64encode(raw).decode()}")


def test_no_signature_is_refused_with_what_to_do(key: SigningKey) -> None:
    with pytest.raises(ModelRejected, match=r"not signed, .*: repertory sign"):
        TrustedKeys([key.public]).signer(WINE, "")


@given(st.text(min_size=1))
def test_garbage_is_no_signature(text: str) -> None:
    with pytest.raises(ModelRejected, match="signature is none"):
        TrustedKeys([]).signer(WINE, text)


def test_what_is_signed_is_what_the_documentation_says(key: SigningKey, tmp_path: Path) -> None:
    assert WINE.to_bytes() == (
        b"repertory-model-signature-1\nsha256:" + b"ab" * 32 + b"\ntype:ONNX\ndata_type:wine\n"
    )
    statement, signature = tmp_path / "statement", tmp_path / "signature"
    statement.write_bytes(WINE.to_bytes())
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(tmp_path / "one.key")]
    command += ["-in", str(statement), "-out", str(signature)]
    subprocess.run(command, check=True, timeout=30)
    text = base64.b64encode(signature.read_bytes()).decode()
    assert key.sign(WINE) == f"ed25519:{key.fingerprint}:{text}"


def test_the_key_is_its_owners_alone_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    made = SigningKey.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.read(path).public == made.public
    with pytest.raises(ConfigError, match="is there already"):
        SigningKey.make(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        SigningKey.make(tmp_path / "nowhere" / "a.key")


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    path = tmp_path / "garbage.key"
    with pytest.raises(ConfigError, match="cannot be read"):
        SigningKey.read(path)
    path.write_text("garbage")
    with pytest.raises(ConfigError, match="no private key in PEM"):
        SigningKey.read(path)


@pytest.mark.parametrize("options", [("ec", "ec_paramgen_curve:P-256"), ("ed25519", "")])
def test_other_keys_and_locked_ones_are_told(tmp_path: Path, options: tuple[str, str]) -> None:
    algorithm, option = options
    path = tmp_path / "openssl.key"
    command = ["openssl", "genpkey", "-algorithm", algorithm, "-out", str(path)]
    command += ["-pkeyopt", option] if option else ["-aes256", "-pass", "pass:secret"]
    subprocess.run(command, check=True, timeout=30, capture_output=True)
    with pytest.raises(ConfigError, match="is no Ed25519 key" if option else "has a passphrase"):
        SigningKey.read(path)


def config_of(key: str) -> ClusterConfig:
    return parse_config({"data_types": {"wine": WINES}, "models": {"trusted_keys": [key]}})


def test_the_configuration_takes_public_keys_and_nothing_else(key: SigningKey) -> None:
    assert config_of(key.public).models.trusted_keys == (key.public,)
    short = base64.b64encode(bytes(31)).decode()
    for wrong in ("garbage", f"ed25519:{short}", key.public.replace("ed25519", "rsa"), "ed25519:é"):
        with pytest.raises(ConfigError, match=r"models\.trusted_keys\.0: not a public key"):
            config_of(wrong)
