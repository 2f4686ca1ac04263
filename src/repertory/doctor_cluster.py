"""What `repertory doctor` says about a cluster: who can reach its ports, and who can get in.

Every host's own doctor looks at the ports and certificates of that host; addresses and secrets are
looked at for all nodes.
"""

import socket
import stat
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import yaml

from repertory.config import ClusterConfig, Tls
from repertory.errors import ConfigError
from repertory.finding import Finding, port_fault

RENEWAL = timedelta(days=30)
_VARIETY = 8  # different characters of a secret that was not made up by a person in a hurry

_Address = IPv4Address | IPv6Address


def examine_cluster(
    config: ClusterConfig, config_path: Path, running: Collection[str]
) -> Iterator[Finding]:
    """Look at what concerns other hosts, and yield what was found. `running` are nodes that run."""
    addresses: dict[str, _Address] = {}
    for name, node in config.nodes.items():
        try:
            addresses[name] = _resolve(node.host)
        except OSError as error:
            why = f"{node.host}: {error.strerror or error}"
            yield Finding("failed", f"nodes.{name}.host", why, "is it in DNS or /etc/hosts?")
            continue
        yield from _reach(name, node.host, addresses[name], is_cluster=config.is_cluster)
    if not config.is_cluster:
        return
    yield from _secret(config, config_path)
    apart = not all(address.is_loopback for address in addresses.values())
    if config.cluster.tls is None:
        yield _without_tls(apart=apart)
    for name in config.nodes:
        if name not in addresses or not _is_here(addresses[name]):
            continue
        if name not in running:
            yield from _ports(config, name)
        if config.cluster.tls is not None:
            yield from _certificate(config.cluster.tls, name)


def _resolve(host: str) -> _Address:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    return ip_address(found[4][0])


def _is_here(address: _Address) -> bool:
    return port_fault(str(address), 0) is None


def _reach(name: str, host: str, address: _Address, *, is_cluster: bool) -> Iterator[Finding]:
    what = f"nodes.{name}.host"
    guard = "let only the other nodes reach its ports: docs/security.md has the firewall's rules"
    if address.is_unspecified and is_cluster:
        yield Finding("failed", what, f"{host} is no address to connect to", "name one address")
    elif address.is_unspecified:
        found = f"{host}: whoever reaches this host reaches the port of Thespian"
        yield Finding("warning", what, found, "name one address, such as 127.0.0.1")
    elif address.is_global:
        found = f"{host} is a public address: the ports of Thespian and of the door are reachable"
        yield Finding("warning", what, found, f"take an address of a private network, or {guard}")
    elif not address.is_loopback:
        found = f"{host}: whoever is in this network reaches the ports of Thespian and of the door"
        yield Finding("ok", what, found, guard)


def _secret(config: ClusterConfig, config_path: Path) -> Iterator[Finding]:
    assert config.cluster.secret is not None  # else the configuration would have been refused
    what, make = "cluster.secret", "make one: openssl rand -base64 32"
    if len(set(config.cluster.secret.get_secret_value())) < _VARIETY:
        yield Finding("warning", what, f"has fewer than {_VARIETY} different characters", make)
    document = yaml.safe_load(config_path.read_text()) or {}
    is_in_file = "secret" in (document.get("cluster") or {})
    if is_in_file and config_path.stat().st_mode & stat.S_IROTH:
        mend = f"chmod o-r {config_path}, or give it as REPERTORY_CLUSTER__SECRET"
        yield Finding("warning", what, f"everybody on this host can read it in {config_path}", mend)


def _without_tls(*, apart: bool) -> Finding:
    if not apart:
        return Finding("ok", "cluster.tls", "not set; all nodes are on this host")
    found = "not set: records, answers and questions travel between hosts unencrypted"
    mend = "`repertory certs` makes certificates for development; docs/security.md says the rest"
    return Finding("warning", "cluster.tls", found, mend)


def _ports(config: ClusterConfig, name: str) -> Iterator[Finding]:
    node = config.nodes[name]
    for key, port in (("door_port", node.door_port), ("admin_port", node.admin_port)):
        what, where = f"nodes.{name}.{key}", f"{node.host}:{port}"
        if (fault := port_fault(node.host, port)) is None:
            yield Finding("ok", what, f"{where} is free")
        else:
            yield Finding("failed", what, f"{where}: {fault}", "choose another one in cluster.yaml")


def _certificate(tls: Tls, name: str) -> Iterator[Finding]:
    from repertory.actors.tls import rehearse, tls_file
    from repertory.certificates import certified, read_certificate

    what = f"certificate of node {name}"
    key, path = tls_file(tls.key, name), tls_file(tls.certificate, name)
    try:
        certificate = read_certificate(path)
        names, until = certified(certificate), certificate.not_valid_after_utc
        fault = rehearse(tls, name)
    except (ConfigError, OSError, ValueError) as error:
        mend = "cluster.tls names the files; `repertory certs` makes them for development"
        yield Finding("failed", what, f"{path}: {error}", mend)
        return
    if fault is not None:
        yield Finding(
            "failed", what, f"{path}: {fault}", "have a new one made, and restart the node"
        )
    elif name not in names:
        told = f"{path} is that of {', '.join(names) or 'nobody'}, and other nodes will refuse it"
        yield Finding("failed", what, told, f"its alternative names must have DNS:{name}")
    elif until - datetime.now(UTC) < RENEWAL:
        yield Finding("warning", what, f"{path} expires on {until:%Y-%m-%d}", "have it renewed")
    else:
        yield Finding("ok", what, f"valid until {until:%Y-%m-%d}")
    if key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("warning", what, f"others than its owner can read {key}", f"chmod 600 {key}")
