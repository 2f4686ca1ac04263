"""`repertory token`, the nodes that want one, and those that must not start without."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.http.oidc_world import Provider

from repertory.actors.local_node import LocalNode
from repertory.config import NodePaths, load_config
from repertory.doctor import examine
from repertory.finding import Finding
from repertory.http.exposure import exposure_fault
from repertory.http.tokens import TokenFile

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]


def write(folder: Path, **http: Any) -> Path:
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document |= {"data_dir": str(folder / "data"), "http": {"port": 0} | http}
    document.pop("kafka", None)
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def tokens_of(config: Path) -> TokenFile:
    return TokenFile(NodePaths(load_config(config), "a").tokens)


def test_a_token_is_printed_once_and_kept_hashed(tmp_path: Path, repertory: Run) -> None:
    config = write(tmp_path)
    made = repertory(
        *("token", "create", "--config", config, "--role", "score", "--role", "publish"),
        *("--data-type", "wine", "--expires", "30d", "--name", "ci"),
    )
    assert (made.code, made.out[:10]) == (0, "repertory_")
    file = tokens_of(config)
    assert made.out.strip() not in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o600
    (kept,) = file.read()
    assert (kept.name, kept.roles, kept.data_types) == ("ci", ("score", "publish"), ("wine",))
    assert kept.expires is not None
    assert (kept.expires - kept.created).days == 30
    listed = repertory("token", "list", "--config", config).out
    assert kept.id in listed
    assert "score, publish" in listed


def test_a_token_is_revoked_by_name_or_id(tmp_path: Path, repertory: Run) -> None:
    config = write(tmp_path)
    for name in ("one", "two"):
        repertory("token", "create", "--config", config, "--role", "read", "--name", name)
    one, two = tokens_of(config).read()
    assert repertory("token", "revoke", "--config", config, "one").code == 0
    assert tokens_of(config).read() == (two,)
    assert repertory("token", "revoke", "--config", config, two.id).code == 0
    assert (tokens_of(config).exists, tokens_of(config).read()) == (True, ())
    gone = repertory("token", "revoke", "--config", config, one.id)
    assert (gone.code, "has no token" in gone.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--role", "king"), "king"),
        (("--role", "read", "--data-type", "beer"), "there is no 'beer'; there are: wine"),
        (("--role", "read", "--expires", "soon"), "'soon' is no time"),
        ((), "--role"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, repertory: Run, arguments: tuple[str, ...], said: str
) -> None:
    config = write(tmp_path)
    made = repertory("token", "create", "--config", config, *arguments)
    assert made.code == 2
    assert said in " ".join(made.err.split())
    assert not tokens_of(config).exists


def test_off_loopback_a_node_does_not_start_without_tls(tmp_path: Path, repertory: Run) -> None:
    ended = repertory("up", "--config", write(tmp_path, host="0.0.0.0"))
    assert ended.code == 1
    for said in ("http.host: 0.0.0.0", "http.tls.certificate", "repertory certs", "http.insecure"):
        assert said in ended.err


def test_off_loopback_a_node_does_not_start_without_a_credential(
    tmp_path: Path, repertory: Run
) -> None:
    config = write(tmp_path, host="0.0.0.0", insecure=True)
    repertory("token", "create", "--config", config, "--role", "read", "--name", "gone")
    repertory("token", "revoke", "--config", config, "gone")
    ended = repertory("up", "--config", config)
    assert ended.code == 1
    for said in ("http.tokens_file", "repertory token create --role admin", "http.tls.client_ca"):
        assert said in ended.err


def test_tokens_that_cannot_be_read_open_no_node(tmp_path: Path, repertory: Run) -> None:
    config = write(tmp_path)
    tokens_of(config).path.parent.mkdir()
    tokens_of(config).path.write_text('{"tokens": "none"}')
    ended = repertory("up", "--config", config)
    assert (ended.code, "no file of `repertory token`" in ended.err) == (1, True)


@pytest.fixture
def guarded(tmp_path: Path, repertory: Run) -> Iterator[tuple[LocalNode, str]]:
    """A node that wants a token, listening on all addresses, and the token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = write(tmp_path, host="0.0.0.0", port=port, insecure=True)
    token = repertory("token", "create", "--config", config, "--role", "admin").out.strip()
    with LocalNode(config, log=tmp_path / "node.log") as node:
        node.url = f"http://127.0.0.1:{port}"
        node.wait_until(ready=False)
        yield node, token
    node.wait_gone()


def test_commands_show_their_token_and_no_log_has_it(
    guarded: tuple[LocalNode, str], tmp_path: Path, repertory: Run
) -> None:
    node, token = guarded
    retire = ("retire", "--url", node.url, "wine")
    refused = repertory(*retire)
    assert (refused.code, "no token" in refused.err) == (1, True)
    (tmp_path / "token").write_text(f"{token}\n")
    assert repertory(*retire, "--token", f"@{tmp_path / 'token'}").code == 0
    assert repertory(*retire, REPERTORY_TOKEN=token).code == 0
    assert '"outcome": "retired"' in node.paths.audit.read_text()
    node.stop()
    written = [path for path in tmp_path.rglob("*.log") if path.is_file()]
    assert node.paths.audit in written
    assert [path for path in written if token in path.read_text()] == []


def test_doctor_says_who_could_get_in(tmp_path: Path, repertory: Run) -> None:
    exposed = repertory("doctor", "--config", write(tmp_path, host="0.0.0.0"))
    assert (exposed.code, "there is no TLS" in exposed.out) == (1, True)
    config = write(tmp_path)
    repertory("token", "create", "--config", config, "--role", "read")
    tokens_of(config).path.chmod(0o644)
    assert f"chmod 600 {tokens_of(config).path}" in repertory("doctor", "--config", config).out


def test_off_loopback_an_openid_provider_is_a_credential_and_doctor_knows_its_keys(
    tmp_path: Path, repertory: Run
) -> None:
    provider = Provider(tmp_path)
    config = write(tmp_path, host="0.0.0.0", insecure=True, oidc=provider.config())
    node = load_config(config).of_node("a")
    assert exposure_fault(node, "a", NodePaths(node, "a")) is None
    found = {each.what: each for each in examine(config)}
    assert found["http.oidc"] == Finding("ok", "http.oidc", "https://login.example: 1 keys")
    (tmp_path / "jwks.json").write_text("{}")
    found = {each.what: each for each in examine(config)}
    assert found["http.oidc"].level == "failed"
    (tmp_path / "jwks.json").unlink()
    assert "there is no file" in str(exposure_fault(node, "a", NodePaths(node, "a")))
