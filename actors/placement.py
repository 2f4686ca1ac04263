"""Which nodes own a data type: every router computes the same answer, without asking anybody.

Rendezvous (highest random weight) hashing: each node has a score for each data type, and the best
ones own it. So a node that comes or goes moves only its own share. D. Thaler and C. Ravishankar,
*Using name-based mappings to increase hit rates*, IEEE/ACM Transactions on Networking 6(1), 1998;
with weights after J. Schindler and others, *Weighted Distributed Hash Tables*, SPAA 2005: a node
of twice the weight owns twice as much.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Host:
    """A node, as far as placement looks at it.

    `only` are the data types that it may own; None: all. `capabilities` are what data types may
    need, such as `gpu`.
    """

    name: str
    weight: float = 1.0
    capabilities: Mapping[str, str | bool] = field(default_factory=dict)
    only: frozenset[str] | None = None

    def may_own(self, data_type: str, needs: Mapping[str, str | bool]) -> bool:
        """Return whether it may own a data type that needs these capabilities."""
        if self.only is not None and data_type not in self.only:
            return False
        return self.weight > 0 and all(
            self.capabilities.get(name, False) == value for name, value in needs.items()
        )


def owners(
    data_type: str,
    hosts: Iterable[Host],
    *,
    replicas: int = 1,
    needs: Mapping[str, str | bool] | None = None,
) -> tuple[str, ...]:
    """Return the nodes that own a data type, the one of the first replica first.

    They are different ones, and fewer than `replicas` where there are not enough that may.
    """
    able = [host for host in hosts if host.may_own(data_type, needs or {})]
    # Names decide where scores are equal, so that the order of `hosts` never does.
    able.sort(key=lambda host: (-_score(data_type, host), host.name))
    return tuple(host.name for host in able[:replicas])


def _score(data_type: str, host: Host) -> float:
    # The zero byte keeps ("ab", "c") and ("a", "bc") apart; names hold none.
    digest = blake2b(f"{host.name}\0{data_type}".encode(), digest_size=8).digest()
    chance = ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53  # within (0, 1)
    return -host.weight / math.log(chance)
