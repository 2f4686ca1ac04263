"""The Thespian convention over all nodes, and who leads it.

Nothing of ours needs it to serve: routers create actors on their own node only, and know each
other by their doors. It is there for those who look at the cluster with Thespian's own means, and
so its leader may be dead, frozen or out of reach without anybody noticing.

Each node begins as the leader of a convention of its own, and its supervisor moves it to the first
of `cluster.leaders` that is up. Thespian's own list of leaders does not survive a kill -9.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import RequestFailed

# How often a node's admin registers with the leader; one that missed three times is forgotten.
# Thespian's own 7 minutes are too long, and what a frozen leader does not take must not pile up
# with the sender: it is kept for five minutes, and 200 of it would stop the admin.
PERIODS = {"CONVENTION_REREGISTRATION_PERIOD": "0:05", "CONVENTION_RESTART_PERIOD": "0:05"}

ADDRESS = "Convention Address.IPv4"

LOOK_SECONDS = 1.0
# One that was silent for a moment still leads; the convention has no hurry.
_LEADS = ("up", "suspect")

log = structlog.get_logger(__name__)


def wire_key(secret: str) -> str:
    """Return the key of Thespian's messages between the nodes of a cluster, hexadecimal."""
    return hmac.digest(secret.encode(), b"repertory: thespian's wire", "sha256").hex()


class Convention:
    """Who leads, as far as one node knows. `move` takes the node's admin to a leader's address."""

    def __init__(
        self, config: ClusterConfig, node: str, move: Callable[[str], Awaitable[None]]
    ) -> None:
        self._config = config
        self._node = node
        self._move = move
        self._leaders = config.cluster.leaders or tuple(config.nodes)
        self.leader = node

    def capabilities(self) -> dict[str, Any]:
        """Return those of an admin that starts now."""
        return {ADDRESS: self._address(self.leader), "node": self._node}

    async def follow(self, client: RouterClient) -> None:
        """Ask the router who is up, and move to the leader, until cancelled."""
        while True:
            try:
                found = await client.ask("cluster", timeout=LOOK_SECONDS)
                await self.heard({each["node"]: each["state"] for each in found["members"]})
            except (RequestFailed, LookupError, TypeError):
                pass  # what leads is as good as another, until it is known who is up
            await asyncio.sleep(LOOK_SECONDS)

    async def heard(self, states: Mapping[str, str]) -> None:
        """Move to the first of the leaders that is up; stay where we are when none is."""
        for leader in self._leaders:
            if states.get(leader) in _LEADS:
                if leader != self.leader:
                    await self._follow(leader)
                return

    async def _follow(self, leader: str) -> None:
        try:
            await self._move(self._address(leader))
        except Exception as error:  # noqa: BLE001 - Thespian raises whatever it likes
            why = str(error) or repr(error)
            log.warning("the convention's leader cannot be followed yet", leader=leader, why=why)
            return
        log.info("the convention has another leader", leader=leader, before=self.leader)
        self.leader = leader

    def _address(self, node: str) -> str:
        found = self._config.nodes[node]
        return f"{found.host}:{found.admin_port}"
