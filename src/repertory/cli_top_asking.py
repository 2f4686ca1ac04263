"""What `repertory top` asks the nodes of a cluster, and whom it asks when one is gone."""

import asyncio
import ipaddress
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from repertory.cli_cluster_sheets import THERE
from repertory.errors import RepertoryError
from repertory.http.caller import Caller, CallFailed, path

# A router answers in milliseconds, and for another node within a second; a frozen one never does.
PATIENCE_SECONDS = 2.0
# So many questions are under way at a time: those who score are not to feel that they are watched.
AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Look:
    """What the cluster said at one moment (monotonic seconds), by way of the node at `url`.

    Of what was not answered, `error` says why. `more` data types were not asked about.
    """

    at: float
    url: str
    cluster: Mapping[str, Any]
    statuses: Mapping[str, Mapping[str, Any]]  # by node
    states: Mapping[str, dict[str, Any]]  # by data type
    more: int = 0


class Watcher:
    """Looks at a cluster by way of one node, and by way of another when that one is gone."""

    def __init__(self, caller: Caller, url: str, data_types: Collection[str] = ()) -> None:
        self._caller = caller
        self._given = self._url = url
        self._data_types = data_types
        self._nodes: dict[str, str] = {}  # by address
        self._limit = asyncio.Semaphore(AT_A_TIME)

    async def look(self, most: int | None = None) -> Look:
        """Ask for everything; of states, for those of the first `most` data types.

        Raises CallFailed when no node answers, or when a data type is not declared.
        """
        cluster = await self._cluster()
        names = self._wanted(cluster["shards"])
        there = [each["node"] for each in cluster["members"] if each["state"] in THERE]
        statuses, states = await asyncio.gather(
            self._all({node: f"/status?node={quote(node, safe='')}" for node in there}),
            self._all({name: path("state", name) for name in names[:most]}),
        )
        more = len(names) - len(states)
        return Look(time.monotonic(), self._url, cluster, statuses, states, more)

    def _wanted(self, declared: Collection[str]) -> list[str]:
        for name in self._data_types:
            if name not in declared:
                there = ", ".join(sorted(declared))
                raise CallFailed(f"no data type {name!r} is declared; there are: {there}")
        return sorted(set(self._data_types) or declared)

    async def _cluster(self) -> Any:
        """Return what the first node says that answers; that one is asked from then on."""
        faults = []
        for url in dict.fromkeys([self._url, self._given, *self._nodes]):
            try:
                cluster = await self._caller.get(url, "/cluster")
            except CallFailed as error:
                faults.append(error)
                continue
            # What is a loopback address there may be somebody else's here.
            if url == self._given or self._nodes.get(url) == cluster["node"]:
                self._url = url
                self._nodes = addresses(cluster["members"])
                return cluster
        raise faults[0]

    async def _all(self, paths: Mapping[str, str]) -> dict[str, Any]:
        answers = await asyncio.gather(*map(self._answer, paths.values()))
        return dict(zip(paths, answers, strict=True))

    async def _answer(self, path: str) -> Any:
        try:
            async with self._limit:
                return await self._caller.get(self._url, path)
        except RepertoryError as error:
            return {"error": str(error)}


def addresses(members: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the nodes by the addresses at which their HTTP faces can be called."""
    return {
        _callable(member["http"], member["host"]): member["node"]
        for member in members
        if member["http"]
    }


def _callable(url: str, host: str) -> str:
    """Return the address of a face; one that listens on all addresses is called at its node's."""
    parts = urlsplit(url)
    try:
        everywhere = ipaddress.ip_address(parts.hostname or "").is_unspecified
    except ValueError:  # a name
        everywhere = False
    if not everywhere:
        return url
    return f"http://[{host}]:{parts.port}" if ":" in host else f"http://{host}:{parts.port}"
