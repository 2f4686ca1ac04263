"""The embedded development broker: a single node that speaks enough of Kafka's protocol."""

import asyncio
import fcntl
import functools
import logging
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from repertory.errors import ConfigError
from repertory.streams.devbroker import cleaner
from repertory.streams.devbroker.connection import Connection
from repertory.streams.devbroker.groups import Groups
from repertory.streams.devbroker.journal import Event, MetadataJournal
from repertory.streams.devbroker.offsets import CommittedOffsets
from repertory.streams.devbroker.protocol import Refused
from repertory.streams.devbroker.request import Node
from repertory.streams.devbroker.settings import BrokerSettings
from repertory.streams.devbroker.topics import Topics
from repertory.streams.devbroker.transactions import Transactions

_READ_BUFFER = 8 * 1024 * 1024  # bytes that a connection takes in before it pauses
_log = logging.getLogger(__name__)


class DevBroker:
    """A broker inside this process, for development and tests. One node, no replication.

    To be started and stopped in the same asyncio loop. Two brokers cannot share a data folder.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.port = settings.port
        self._temporary: Path | None = None
        self._node: Node | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[Any] | None] = {}
        self._chores: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def bootstrap_servers(self) -> str:
        """What clients are given as `bootstrap.servers`. Known once started."""
        return f"{self.settings.advertised_host or self.settings.host}:{self.port}"

    async def start(self) -> None:
        """Open the data folder and listen. Raises ConfigError, LogDamaged, OSError."""
        self._stopping = False
        folder = self.settings.data_dir
        if folder is None:
            folder = self._temporary = Path(tempfile.mkdtemp(prefix="repertory-broker-"))
        try:
            self._node = _open(folder.absolute(), self.settings)
            await self._listen(self._node)
        except BaseException:
            await self.stop()
            raise
        self._chores = [
            asyncio.create_task(self._tick(self._node)),
            asyncio.create_task(self._clean(self._node)),
        ]

    async def _listen(self, node: Node) -> None:
        settings = self.settings
        try:
            self._server = await asyncio.start_server(
                self._accept, settings.host, settings.port, limit=_READ_BUFFER, ssl=settings.tls
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
                "choose another port, or 0 for any free one"
            ) from error
        self.port = node.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._node is None or self._stopping:
            writer.close()
            return
        if len(self._connections) >= self.settings.max_connections:
            _log.warning("connection refused: there are %d already", len(self._connections))
            writer.close()
            return
        connection = Connection(self._node, reader, writer)
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.serve()
        finally:
            del self._connections[connection]

    async def stop(self) -> None:
        """Close all connections and files; a temporary data folder is removed. Idempotent."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for chore in self._chores:
            chore.cancel()
        for connection in self._connections:
            connection.break_off()
        await asyncio.gather(
            *self._chores, *filter(None, self._connections.values()), return_exceptions=True
        )
        if self._server is not None:
            await self._server.wait_closed()
        if self._node is not None:
            self._node.topics.close()
            self._node.journal.close()
            self._node.lock.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._server = self._node = self._temporary = None
        self._chores = []

    async def _tick(self, node: Node) -> None:
        while True:
            await asyncio.sleep(self.settings.tick_seconds)
            _attempt(node.groups.tick)
            _attempt(node.transactions.tick)
            if node.journal.bloated:
                _attempt(lambda: node.journal.rewrite(_events(node)))

    async def _clean(self, node: Node) -> None:
        while True:
            await asyncio.sleep(self.settings.clean_seconds)
            for _, partition in list(node.topics.partitions()):
                if not partition.segments:
                    continue  # deleted meanwhile
                _attempt(functools.partial(cleaner.retain, partition))
                compaction = cleaner.plan(partition)
                if compaction is not None:
                    try:
                        await asyncio.to_thread(cleaner.compact, compaction)
                        compaction.install()
                    except (OSError, Refused) as error:
                        _log.warning("compaction of %s failed: %s", partition.folder, error)


def _attempt(chore: Callable[[], None]) -> None:
    """Do a chore that will come up again, whatever becomes of it."""
    try:
        chore()
    except (OSError, Refused) as error:
        _log.warning("%s; will be tried again", error)


def _open(folder: Path, settings: BrokerSettings) -> Node:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(folder)
    journal = MetadataJournal(folder / "metadata.jsonl", durable=settings.durable)
    topics = Topics(folder / "logs", journal, durable=settings.durable)
    offsets = CommittedOffsets(journal)
    transactions = Transactions(
        journal, topics, offsets, max_timeout_ms=settings.max_transaction_timeout_ms
    )
    node = Node(
        settings=settings,
        cluster_id=uuid.uuid4().hex[:22],
        journal=journal,
        topics=topics,
        offsets=offsets,
        groups=Groups(
            offsets,
            initial_delay=settings.initial_rebalance_delay_ms / 1000,
            min_session_timeout=settings.min_session_timeout_ms / 1000,
        ),
        transactions=transactions,
        lock=lock,
        host=settings.advertised_host or settings.host,
    )
    for event in journal.read():
        if event[0] == "cluster":
            node.cluster_id = event[1]
        for part in (topics, offsets, transactions):
            part.replay(event)
    topics.open()
    journal.rewrite(_events(node))
    transactions.open()
    return node


def _lock(folder: Path) -> BinaryIO:
    """Keep other brokers away until the file returned is closed, or this process ends."""
    file = (folder / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            f"{folder}: another broker uses this data folder; stop it, or choose another folder"
        ) from None
    return file


def _events(node: Node) -> list[Event]:
    return [
        ("cluster", node.cluster_id),
        *node.topics.events(),
        *node.offsets.events(),
        *node.transactions.events(),
    ]


async def run(settings: BrokerSettings, announce: Callable[[DevBroker], None]) -> None:
    """Run a broker until SIGINT or SIGTERM; `announce` is called once it listens.

    Raises RepertoryError, OSError if it cannot start.
    """
    broker = DevBroker(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    try:
        announce(broker)
        await stop.wait()
    finally:
        await broker.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def serve(settings: BrokerSettings) -> None:
    """Run a broker until SIGINT or SIGTERM, and say so on one line: `repertory broker`.

    Raises RepertoryError, OSError if it cannot start.
    """
    asyncio.run(run(settings, lambda broker: print(describe(broker), flush=True)))


def describe(broker: DevBroker) -> str:
    """Return a sentence for people: where the broker listens, and what it is."""
    kept = broker.settings.data_dir
    return f"single-node Kafka broker for development on {broker.bootstrap_servers}, " + (
        f"data in {kept}" if kept else "data thrown away at the end (--data-dir keeps it)"
    )
