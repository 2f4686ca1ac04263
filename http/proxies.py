"""Where a request is from, when proxies stand between."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

HEADER = "X-Forwarded-For"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded: Sequence[str], trusted: Iterable[Network]) -> str:
    """Return the address of who sent a request that came from `peer` with these X-Forwarded-For.

    Each proxy writes at the right end whom it was asked by. So it is the right-most address that
    is not a trusted proxy's; what is to the left of it, anybody can have made up. What is no
    address was written by the last one that can be trusted, and then it is that one's.
    """
    networks = tuple(trusted)
    found = _address(peer)
    if not networks or found is None:
        return peer
    named = [each for line in forwarded for each in line.split(",")]
    while named and any(found in network for network in networks):
        before = _address(named.pop())
        if before is None:
            break
        found = before
    return str(found)


def _address(text: str) -> Address | None:
    """Return an address; some proxies write a port behind it."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
