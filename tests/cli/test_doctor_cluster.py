"""`repertory doctor` says who can reach a cluster's ports, and who can get in."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from repertory import certificates
from repertory.certificates import CertificateSet, make_certificates
from repertory.config import load_config
from repertory.doctor_cluster import examine_cluster
from repertory.finding import Finding

SECRET = "0123456789abcdef"
# Addresses of loopback that no other process of the tests uses.
HERE = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


class Cluster:
    """A cluster.yaml, and what the doctor says about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "cluster.yaml"
        self.files = CertificateSet(folder / "certs")
        self.hosts = {"a": f"{HERE}.1", "b": f"{HERE}.2"}
        self.cluster: dict[str, Any] = {"secret": SECRET}
        self.running: list[str] = []

    def certify(self, days: int = 99) -> None:
        list(make_certificates(self.files, self.hosts, days=days))
        self.cluster["tls"] = {
            "certificate": str(self.files.certificate("{node}")),
            "key": str(self.files.key("{node}")),
            "authority": str(self.files.authority),
        }

    def findings(self) -> list[Finding]:
        document = {
            "nodes": {node: {"host": host} for node, host in self.hosts.items()},
            "journal": {"kind": "kafka" if len(self.hosts) > 1 else "sqlite"},
            "kafka": {"bootstrap_servers": "broker:9092"},
            "cluster": self.cluster,
            "data_types": {"wine": {"message": "wine_pb2:Wine", "features": ["pH"]}},
        }
        if not self.path.exists():
            self.path.touch(0o600)
        self.path.write_text(yaml.safe_dump(document))
        return list(examine_cluster(load_config(self.path, {}), self.path, self.running))

    def bad(self) -> list[tuple[str, str, str]]:
        return [
            (each.level, each.what, each.found) for each in self.findings() if each.level != "ok"
        ]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_cluster_on_loopback_is_well_without_tls(cluster: Cluster) -> None:
    assert cluster.bad() == []
    told = [(each.what, each.found) for each in cluster.findings()]
    assert ("cluster.tls", "not set; all nodes are on this host") in told
    assert ("nodes.a.door_port", f"{HERE}.1:5590 is free") in told
    assert ("nodes.b.admin_port", f"{HERE}.2:5591 is free") in told


def test_a_single_node_on_loopback_gives_no_reason_for_a_word(cluster: Cluster) -> None:
    cluster.hosts = {"a": "127.0.0.1"}
    assert cluster.findings() == []


def test_without_tls_between_hosts_it_warns(cluster: Cluster) -> None:
    cluster.hosts["b"] = "10.255.255.254"
    assert [(level, what) for level, what, _ in cluster.bad()] == [("warning", "cluster.tls")]
    guards = [each.mend for each in cluster.findings() if each.what == "nodes.b.host"]
    assert "docs/security.md has the firewall's rules" in guards[0]


def test_ports_and_certificates_of_other_hosts_are_theirs(cluster: Cluster) -> None:
    cluster.hosts["b"] = "10.255.255.254"
    cluster.certify()
    (cluster.folder / "certs" / "node-b.pem").unlink()
    assert cluster.bad() == []


@pytest.mark.parametrize(
    ("host", "level", "words"),
    [
        ("0.0.0.0", "failed", "no address to connect to"),
        ("8.8.8.8", "warning", "8.8.8.8 is a public address"),
        ("no.such.host.invalid", "failed", "no.such.host.invalid: "),
    ],
)
def test_an_address_that_others_reach_or_nobody_is_told(
    host: str, level: str, words: str, cluster: Cluster
) -> None:
    cluster.hosts["b"] = host
    found = [each for each in cluster.bad() if each[1] == "nodes.b.host"]
    assert [each[0] for each in found] == [level]
    assert words in found[0][2]


def test_a_single_node_on_all_addresses_is_warned_about_too(cluster: Cluster) -> None:
    cluster.hosts = {"a": "0.0.0.0"}
    [(level, what, found)] = cluster.bad()
    assert (level, what) == ("warning", "nodes.a.host")
    assert "reaches the port of Thespian" in found


def test_a_port_that_is_taken_is_told_unless_the_node_runs(cluster: Cluster) -> None:
    with socket.create_server((f"{HERE}.1", 5590)):
        assert cluster.bad() == [
            ("failed", "nodes.a.door_port", f"{HERE}.1:5590: Address already in use")
        ]
        cluster.running = ["a"]
        assert cluster.bad() == []


def test_a_secret_that_can_be_guessed_is_warned_about(cluster: Cluster) -> None:
    cluster.cluster["secret"] = "secretsecretsecret"
    assert cluster.bad() == [("warning", "cluster.secret", "has fewer than 8 different characters")]


def test_a_secret_that_everybody_can_read_is_warned_about(cluster: Cluster) -> None:
    cluster.findings()
    cluster.path.chmod(0o644)
    [(level, what, found)] = cluster.bad()
    assert (level, what) == ("warning", "cluster.secret")
    assert "everybody on this host can read it" in found


def test_good_certificates_are_told_with_their_end(cluster: Cluster) -> None:
    cluster.certify()
    assert cluster.bad() == []
    until = f"{datetime.now(UTC) + timedelta(days=99):%Y-%m-%d}"
    told = [(each.what, each.found) for each in cluster.findings()]
    assert ("certificate of node a", f"valid until {until}") in told


def test_a_certificate_that_ends_soon_is_warned_about(cluster: Cluster) -> None:
    cluster.certify(days=9)
    assert [(level, what) for level, what, _ in cluster.bad()] == [
        ("warning", "certificate of node a"),
        ("warning", "certificate of node b"),
    ]


def test_a_certificate_that_has_expired_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_now", lambda: datetime.now(UTC) - timedelta(days=100))
    cluster.certify()
    assert [(level, found.partition(": ")[2]) for level, _, found in cluster.bad()] == [
        ("failed", "its certificate is refused: certificate has expired")
    ] * 2


def test_a_certificate_of_another_node_is_told(cluster: Cluster) -> None:
    cluster.certify()
    for suffix in ("pem", "key"):
        own, other = (cluster.files.folder / f"node-{node}.{suffix}" for node in "ab")
        own.write_bytes(other.read_bytes())
    [(level, what, found)] = cluster.bad()
    assert (level, what) == ("failed", "certificate of node a")
    assert "node-a.pem is that of b, and other nodes will refuse it" in found


def test_a_certificate_of_another_authority_is_told(cluster: Cluster, tmp_path: Path) -> None:
    cluster.certify()
    list(make_certificates(CertificateSet(tmp_path / "other"), {"a": "a"}, days=99))
    cluster.files.authority.write_bytes((tmp_path / "other" / "authority.pem").read_bytes())
    assert [found.partition(": ")[2] for _, _, found in cluster.bad()] == [
        "its certificate is refused: unable to get local issuer certificate"
    ] * 2


def test_a_missing_certificate_and_one_that_is_none_are_told(cluster: Cluster) -> None:
    cluster.certify()
    cluster.files.certificate("a").unlink()
    cluster.files.certificate("b").write_text("nonsense")
    found = [each for _, _, each in cluster.bad()]
    assert "No such file" in found[0]
    assert "Unable to load PEM file" in found[1]


def test_a_key_that_others_can_read_is_warned_about(cluster: Cluster) -> None:
    cluster.certify()
    cluster.files.key("a").chmod(0o640)
    [(level, what, found)] = cluster.bad()
    assert (level, what) == ("warning", "certificate of node a")
    assert f"others than its owner can read {cluster.files.key('a')}" in found


def test_what_is_made_can_be_read_by_others(cluster: Cluster) -> None:
    """The doctor's own reader and the library agree on what is in a certificate."""
    cluster.certify()
    made = certificates.read_certificate(cluster.files.certificate("a"))
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in found.get_values_for_type(x509.IPAddress)] == [f"{HERE}.1"]
