"""`repertory certs` makes certificates that nodes accept, and spoils none that are there."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from repertory.actors.tls import TlsContexts, TlsSession, rehearse
from repertory.certificates import CertificateSet, certified, make_certificates, read_certificate
from repertory.config import Tls, load_config
from repertory.errors import ConfigError


def make(folder: Path, *nodes: str, days: int = 9, anew: bool = False) -> list[str]:
    hosts = {node: f"127.0.0.{number}" for number, node in enumerate(nodes, 1)}
    made = make_certificates(CertificateSet(folder), hosts, days=days, anew=anew)
    return [path.name for path in made]


def tls(folder: Path) -> Tls:
    files = CertificateSet(folder)
    return Tls(
        certificate=files.certificate("{node}"), key=files.key("{node}"), authority=files.authority
    )


def greet(server: TlsContexts, client: TlsContexts) -> tuple[TlsSession, TlsSession]:
    """Let two nodes shake hands, without a network."""
    door = TlsSession(server.server, server_side=True)
    guest = TlsSession(client.client, server_side=False)
    guest.shake(b"")
    while not door.shake(guest.outgoing()):
        guest.shake(door.outgoing())
    return door, guest


def test_the_command_makes_a_set_and_says_what_to_do_with_it(
    make_config: Callable[..., Path], repertory: Callable[..., Any], tmp_path: Path
) -> None:
    nodes = {"a": {"host": "10.0.0.1"}, "b": {"host": "10.0.0.2"}}
    kafka = {"bootstrap_servers": "broker:9092"}
    common: dict[str, Any] = {"cluster": {"secret": "0123456789abcdef"}}
    path = make_config(nodes=nodes, kafka=kafka, journal={"kind": "kafka"}, **common)
    folder = tmp_path / "certs"
    ended = repertory("certs", "--config", path, "--out", folder)
    assert (ended.code, ended.err) == (0, "")
    advice = yaml.safe_load("cluster:" + ended.out.split("cluster:")[1].split("\n\n")[0])
    document = yaml.safe_load(path.read_text())
    document["cluster"] |= advice["cluster"]
    path.write_text(yaml.safe_dump(document))
    found = load_config(path, {}).cluster.tls
    assert found is not None
    assert [rehearse(found, node) for node in nodes] == [None, None]

    again = repertory("certs", "--config", path, "--out", folder)
    assert again.code == 1
    assert "all nodes of" in again.err
    assert "--force makes all anew" in again.err


def test_nodes_of_a_set_greet_each_other_by_name(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    door, guest = greet(TlsContexts(tls(tmp_path), "a"), TlsContexts(tls(tmp_path), "b"))
    assert (door.names, guest.names) == (frozenset({"b"}), frozenset({"a"}))


def test_a_certificate_names_the_node_and_its_host(tmp_path: Path) -> None:
    hosts = {"a": "a.internal", "b": "a", "c": "::1"}
    files = CertificateSet(tmp_path)
    list(make_certificates(files, hosts, days=9))
    names = {node: certified(read_certificate(files.certificate(node))) for node in hosts}
    # b's host is called as another node is: its certificate must not be good for that one.
    assert names == {"a": ["a", "a.internal"], "b": ["b"], "c": ["c"]}


def test_names_of_nodes_differ_in_upper_and_lower_case_and_have_no_wildcards(
    tmp_path: Path,
) -> None:
    make(tmp_path, "a")
    _, guest = greet(TlsContexts(tls(tmp_path), "a"), TlsContexts(tls(tmp_path), "a"))
    guest.check_name("a")
    for name in ("A", "*", "", "a.a"):
        with pytest.raises(ConnectionError, match="its certificate is a's, not "):
            guest.check_name(name)


def test_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    make(tmp_path / "certs", "a", "b")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "certs").glob("*.key")}
    assert modes == dict.fromkeys(("authority.key", "node-a.key", "node-b.key"), 0o600)


def test_a_new_node_is_added_and_the_others_are_left_alone(tmp_path: Path) -> None:
    assert len(make(tmp_path, "a", "b")) == 6
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert make(tmp_path, "a", "b", "c") == ["node-c.key", "node-c.pem"]
    assert {path: path.read_bytes() for path in before} == before
    greet(TlsContexts(tls(tmp_path), "a"), TlsContexts(tls(tmp_path), "c"))


def test_nothing_is_made_when_nothing_is_missing(tmp_path: Path) -> None:
    make(tmp_path, "a")
    assert make(tmp_path, "a") == []


def test_all_are_made_anew_when_that_is_wanted(tmp_path: Path) -> None:
    make(tmp_path / "old", "a")
    make(tmp_path / "new", "a")
    (tmp_path / "new" / "node-a.key").chmod(0o644)
    assert len(make(tmp_path / "new", "a", anew=True)) == 4
    assert (tmp_path / "new" / "node-a.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ssl.SSLError):
        greet(TlsContexts(tls(tmp_path / "old"), "a"), TlsContexts(tls(tmp_path / "new"), "a"))


def test_without_the_authoritys_key_nothing_can_be_added(tmp_path: Path) -> None:
    make(tmp_path, "a")
    (tmp_path / "authority.key").unlink()
    with pytest.raises(ConfigError, match=r"authority\.key: the authority cannot be used"):
        make(tmp_path, "a", "b")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("authority.pem", None, r"cluster\.tls\.authority: .*: No such file"),
        ("node-a.pem", None, r"cluster\.tls\.certificate, .*: No such file"),
        ("node-a.pem", b"nonsense", r"cluster\.tls\.certificate, .*: TLS failed: no pem"),
        ("node-a.key", b"nonsense", r"cluster\.tls\.certificate, .*: TLS failed: no pem"),
    ],
)
def test_files_that_cannot_be_used_are_told_by_their_key(
    file: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    make(tmp_path, "a")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        TlsContexts(tls(tmp_path), "a")


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a", "b")
    (tmp_path / "node-a.key").write_bytes((tmp_path / "node-b.key").read_bytes())
    with pytest.raises(ConfigError, match="key values mismatch"):
        TlsContexts(tls(tmp_path), "a")
