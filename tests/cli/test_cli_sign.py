"""`repertory sign`, and a node that takes only what is signed: over HTTP and over Kafka."""

import json
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def key(repertory: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A private key, and its public half as `models.trusted_keys` takes it."""
    path = tmp_path_factory.mktemp("key") / "signing.key"
    ended = repertory("sign", "--new-key", "--key", path)
    assert ended.code == 0, ended
    head, section, line = ended.out.splitlines()
    assert (head, section) == ("models:", "  trusted_keys:")
    return path, line.split()[1]


@pytest.fixture
def model(tmp_path: Path, wine_models: Path) -> Path:
    path = tmp_path / "forest.onnx"
    path.write_bytes((wine_models / "02-random-forest.onnx").read_bytes())
    return path


@pytest.fixture(scope="module")
def node(
    make_config: Run, free_ports: Run, command_node: Run, key: tuple[Path, str]
) -> Iterator[LocalNode]:
    """A node that trusts the key, with the embedded broker."""
    kafka = {"bootstrap_servers": f"127.0.0.1:{free_ports()}"}
    config = make_config(kafka=kafka, models={"trusted_keys": [key[1]]})
    with command_node(config, "--broker", "embedded") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture
def ask(node: LocalNode, repertory: Run) -> Run:
    """Run a command against the node."""
    return partial(repertory, REPERTORY_URL=node.url)


def versions(ask: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ask("versions", "wine", "--json").out)["versions"]
    return found


def test_a_key_is_private_and_shown_again(repertory: Run, key: tuple[Path, str]) -> None:
    path, public = key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public in repertory("sign", "--show-key", "--key", path).out
    again = repertory("sign", "--new-key", "--key", path)
    assert (again.code, again.out) == (1, "")
    assert "is there already; a key is never replaced" in again.err


def test_a_signature_lies_beside_the_model(
    repertory: Run, key: tuple[Path, str], model: Path
) -> None:
    ended = repertory("sign", model, "--key", key[0], "--data-type", "wine")
    assert ended.code == 0, ended
    assert ended.out.startswith(f"wrote {model}.sig: ONNX for wine, signed by key ")
    assert Path(f"{model}.sig").read_text().startswith("ed25519:")


def test_the_folder_of_a_saved_model_is_signed(
    repertory: Run, key: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    ended = repertory("sign", tmp_path / "saved", "--key", key[0], "--data-type", "wine")
    assert f"{tmp_path / 'saved.sig'}: TENSORFLOWSAVED for wine" in ended.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{model}", "--key", "{key}"], "a MODEL and --data-type are needed"),
        (["--key", "{key}", "--data-type", "wine"], "a MODEL and --data-type are needed"),
        (["{model}", "--new-key"], "and no two of them"),
        (["{model}", "--data-type", "wine"], "signing.key: cannot be read: No such file"),
        (["{model}", "--key", "{model}", "--data-type", "wine"], "is no private key in PEM"),
        (["{model}", "--key", "{key}", "--data-type", "w", "--type", "pickle"], "is none of"),
        (["{key}", "--key", "{key}", "--data-type", "wine"], "say --type"),
    ],
)
def test_what_is_wrong_is_told(
    repertory: Run, key: tuple[Path, str], model: Path, arguments: list[str], complaint: str
) -> None:
    ended = repertory("sign", *(each.format(model=model, key=key[0]) for each in arguments))
    assert ended.code > 0
    assert complaint in " ".join(ended.err.split())


def test_what_is_signed_is_published_and_the_versions_say_by_whom(
    ask: Run, key: tuple[Path, str], model: Path
) -> None:
    unsigned = ask("publish", "wine", model)
    assert (unsigned.code, unsigned.out) == (1, "")
    assert "is not signed, and models.trusted_keys is set" in " ".join(unsigned.err.split())
    ask("sign", model, "--key", key[0], "--data-type", "wine")
    assert ask("publish", "wine", model).out.startswith("SERVING forest")
    newest = versions(ask)[0]
    assert newest["signedBy"] in ask("versions", "wine").out


def test_a_signature_elsewhere_is_named_and_one_for_another_data_type_is_refused(
    ask: Run, key: tuple[Path, str], model: Path, tmp_path: Path
) -> None:
    signing = ["sign", model, "--key", key[0], "--out", tmp_path / "s"]
    ask(*signing, "--data-type", "beer")
    wrong = ask("publish", "wine", model, "--signature", tmp_path / "s")
    assert (wrong.code, "type ONNX and data type wine" in " ".join(wrong.err.split())) == (1, True)
    ask(*signing, "--data-type", "wine")
    assert ask("publish", "wine", model, "--signature", tmp_path / "s").code == 0


def test_over_kafka_the_same_holds(
    ask: Run, key: tuple[Path, str], model: Path, node: LocalNode
) -> None:
    brokers = str(node.config.kafka.bootstrap_servers)
    before = len(versions(ask))
    over_kafka = ["publish", "wine", model, "--kafka", brokers]
    ask(*over_kafka, "--name", "unsigned")
    ask("sign", model, "--key", key[0], "--data-type", "wine")
    ask(*over_kafka, "--name", "signed")
    wait_until(
        lambda: len(versions(ask)) == before + 2 and versions(ask)[0]["state"] == "SERVING",
        "both are decided",
    )
    signed, unsigned = versions(ask)[:2]
    assert (unsigned["name"], unsigned["state"]) == ("unsigned", "REJECTED")
    assert "not signed" in unsigned["reason"]
    assert (signed["name"], signed["signedBy"] is None) == ("signed", False)
