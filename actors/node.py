"""The node supervisor: starts one host's share of the cluster, watches it, and ends it in order."""

import asyncio
import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import structlog

from repertory.actors.actor_host import ActorHost
from repertory.actors.children import Child
from repertory.actors.client import RouterClient
from repertory.actors.door_actor import kill
from repertory.actors.lifeline import Lifeline
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ConfigError, RequestFailed

ROUTER_SECONDS = 20.0  # for a new router to open its door
PING_SECONDS = 1.0
# A router that answers nothing for this long hangs, and is killed; its successor adopts its actors.
HUNG_SECONDS = 15.0
FACE_GRACE, KEEPER_GRACE = 3.0, 1.0  # Ctrl-C ends everything within five seconds

log = structlog.get_logger(__name__)


class Node:
    """One host's actors and processes, for as long as `run` runs.

    `status` tells what the router said last; `ready` is set while it is ready.
    """

    def __init__(
        self, config: ClusterConfig, node: str, config_path: Path, *, embedded_broker: bool = False
    ) -> None:
        if node not in config.nodes:
            known = ", ".join(config.nodes)
            raise ConfigError(f"no node {node!r} in {config_path}; there are: {known}")
        self._config = config
        self._node = node
        self._config_path = config_path.absolute()
        self._embedded_broker = embedded_broker
        self._paths = NodePaths(config, node)
        self._host = ActorHost(config, node)
        self._children: dict[str, Child] = {}
        self._broker: Child | None = None
        self.ready = asyncio.Event()
        self.health: dict[str, Any] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises ConfigError when this node runs already.

        1. Take the node's lock. 2. Open the lifeline. 3. Bring up the router, which brings up or
        adopts the serving actors. 4. Start the keeper and the faces. 5. Watch until told to stop.
        6. End the faces (they drain), the keeper, the broker, the actors, in this order.
        7. Leave nothing.
        """
        self._paths.create()
        with _node_lock(self._paths):
            lifeline = Lifeline(self._paths.run / "lifeline.sock")
            client = RouterClient(self._paths.router_door, role="supervisor")
            try:
                await self._host.create_router()
                async with client:
                    await self._run(client, stop)
            finally:
                await self._host.stop()
                lifeline.close()
                shutil.rmtree(self._paths.run, ignore_errors=True)

    async def _run(self, client: RouterClient, stop: asyncio.Event) -> None:
        await asyncio.wait_for(client.connected.wait(), ROUTER_SECONDS)
        self._start_children()
        watcher = asyncio.create_task(self._watch_router(client))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((watcher, stopping), return_when=asyncio.FIRST_COMPLETED)
            if watcher.done():
                await watcher  # it never ends but by an error
        finally:
            watcher.cancel()
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            await self._stop_children()

    def _start_children(self) -> None:
        modules = {"keeper": "repertory.actors.keeper"}
        if self._config.http.enabled:
            modules["http"] = "repertory.http.face"
        if self._config.kafka.bootstrap_servers:
            modules["streams"] = "repertory.streams.face"
            if self._embedded_broker:
                self._start_broker(self._config.kafka.bootstrap_servers)
        for name, module in modules.items():
            self._start_child(name, module)

    def _start_child(self, name: str, module: str) -> None:
        arguments = ("--config", str(self._config_path), "--node", self._node)
        self._children[name] = Child(name, module, *arguments, logs=self._paths.logs)
        self._children[name].start()

    def _start_archiver(self) -> None:
        """Start the archiver once a policy has archived something."""
        if "archive" not in self._children and self._paths.decoy.exists():
            self._start_child("archive", "repertory.streams.archive")

    def _start_broker(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        data = str(self._paths.root / "broker")
        arguments = ["--host", host, "--port", port, "--data-dir", data]
        arguments += ["--die-with", str(os.getpid())]
        module = "repertory.streams.devbroker"
        self._broker = Child("broker", module, *arguments, logs=self._paths.logs)
        self._broker.start()

    async def _stop_children(self) -> None:
        log.info("stopping: faces finish what they have in hand")
        keeper = self._children.pop("keeper", None)
        await asyncio.gather(*(face.stop(FACE_GRACE) for face in self._children.values()))
        for last in (keeper, self._broker):
            if last is not None:
                await last.stop(KEEPER_GRACE)

    async def _watch_router(self, client: RouterClient) -> None:
        loop = asyncio.get_running_loop()
        answered = loop.time()
        while True:
            if client.welcome is None:
                await self._replace_router(client)
                answered = loop.time()
            assert client.router_pid is not None
            self._host.note_router(client.router_pid)
            self._start_archiver()
            if await self._ask_health(client):
                answered = loop.time()
            elif loop.time() - answered >= HUNG_SECONDS and client.router_pid is not None:
                log.error("the router hangs; it is killed")
                kill(client.router_pid)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.lost.wait(), PING_SECONDS)

    async def _ask_health(self, client: RouterClient) -> bool:
        """Ask the router how it is; return whether it answered. Gives up when it is lost."""
        asking = asyncio.create_task(client.ask("health", timeout=HUNG_SECONDS))
        lost = asyncio.create_task(client.lost.wait())
        await asyncio.wait((asking, lost), return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        try:
            self.health = asking.result() if asking.done() else {}
        except RequestFailed:
            self.health = {}
        asking.cancel()
        if self.health:
            self._note_readiness()
        return bool(self.health)

    async def _replace_router(self, client: RouterClient) -> None:
        log.warning("the router is lost; a new one adopts its actors")
        while True:
            await self._host.create_router()
            try:
                await asyncio.wait_for(client.connected.wait(), ROUTER_SECONDS)
                return
            except TimeoutError:
                log.error("a new router did not open its door; another is started")

    def _note_readiness(self) -> None:
        if self.health["ready"] and not self.ready.is_set():
            self.ready.set()
            log.info("serving", node=self._node)
        elif not self.health["ready"] and self.ready.is_set():
            self.ready.clear()
            log.warning(
                "not ready", no_model=self.health["waiting_for"], troubles=self.health["troubles"]
            )


@contextlib.contextmanager
def _node_lock(paths: NodePaths) -> Any:
    path = paths.root / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode(errors="replace")
        raise ConfigError(f"this node runs already, as process {pid} (lock {path})") from None
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)
