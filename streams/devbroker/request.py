"""What a handler is given: one request, the connection it came by, and the node it acts on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.groups import Groups
from repertory.streams.devbroker.journal import MetadataJournal
from repertory.streams.devbroker.offsets import CommittedOffsets
from repertory.streams.devbroker.settings import BrokerSettings
from repertory.streams.devbroker.topics import Topics
from repertory.streams.devbroker.transactions import Transactions

NODE_ID = 1


@dataclass
class Node:
    """The broker's parts, without the network."""

    settings: BrokerSettings
    cluster_id: str
    journal: MetadataJournal
    topics: Topics
    offsets: CommittedOffsets
    groups: Groups
    transactions: Transactions
    lock: BinaryIO
    host: str
    port: int = 0


class Peer(Protocol):
    """The connection, as far as handlers care."""

    host: str
    mechanism: str | None
    authenticated: bool

    async def wait(self, future: "asyncio.Future[Any]", timeout: float | None = None) -> Any:
        """Return the future's result, None after `timeout` seconds.

        Raises ConnectionError if the connection breaks first.
        """


@dataclass
class Request:
    """One request; `read` stands behind its header."""

    version: int
    client_id: str
    read: Reader
    peer: Peer
    flexible: bool = False

    def answer(self) -> Writer:
        """Return a writer for the answer."""
        return Writer(flexible=self.flexible)

    def throttled(self, since: int) -> Writer:
        """Return a writer, with the throttle time (none) that versions since this one have."""
        writer = self.answer()
        return writer.int32(0) if self.version >= since else writer


Handler = Callable[[Node, Request], Awaitable[Writer | None]]
"""Answers a request; None if nothing is to be sent. What it raises closes the connection."""
