"""What a face must have before it listens beyond loopback."""

import socket
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from repertory.config import ClusterConfig, NodePaths, Oidc
from repertory.http.tokens import TokenFile


def exposure_fault(config: ClusterConfig, node: str, paths: NodePaths) -> str | None:
    """Return why the face of a node must not listen where it is to; None when it may.

    `config` is that of the node. Raises ConfigError when there are tokens that cannot be read.
    """
    http = config.http
    tokens = TokenFile(paths.tokens).read()
    if not http.enabled:
        return None
    if http.oidc is not None and (fault := oidc_fault(http.oidc)) is not None:
        return fault
    if is_loopback(http.host):
        return None
    key = f"nodes.{node}.http_host" if config.nodes[node].http_host else "http.host"
    where = f"{key}: {http.host} is not loopback"
    if http.tls is None and not http.insecure:
        return (
            f"{where}, and there is no TLS: whoever is on the way could read records and tokens;"
            " set http.tls.certificate and http.tls.key (`repertory certs` makes some for"
            " development), or http.insecure: true where a proxy or the network encrypts"
        )
    clients = http.tls is not None and bool(http.tls.clients)
    if http.oidc is None and not clients and all(each.expired for each in tokens):
        return (
            f"{where}, and whoever reaches it could publish models: {paths.tokens}"
            " (http.tokens_file) has no token that is valid; make one with `repertory token create"
            " --role admin`, or set http.tls.client_ca and http.tls.clients for mutual TLS, or"
            " http.oidc for tokens of an OpenID provider"
        )
    return None


def oidc_fault(oidc: Oidc) -> str | None:
    """Return why tokens of an OpenID provider cannot be checked; None when its keys will do."""
    if find_spec("jwt") is None:
        return "http.oidc is set, and PyJWT is not installed: pip install 'repertory[oidc]'"
    if oidc.jwks is not None and "://" not in oidc.jwks and not Path(oidc.jwks).is_file():
        return f"http.oidc.jwks: there is no file {oidc.jwks}"
    return None


def is_loopback(host: str) -> bool:
    """Return whether all addresses of a host can be reached from this host alone."""
    try:
        found = socket.getaddrinfo(host or None, None, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
