"""The node supervisor: starts one host's share of the cluster, watches it, and ends it in order."""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import structlog

from repertory.actors.actor_host import ActorHost
from repertory.actors.children import Child
from repertory.actors.client import RouterClient
from repertory.actors.door_actor import kill
from repertory.actors.ending import Ending, ask_if_there
from repertory.actors.lifeline import Lifeline
from repertory.actors.phases import Step, shut_down
from repertory.actors.workers import Workers
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ConfigError

ROUTER_SECONDS = 20.0  # for a new router to open its door
PING_SECONDS = 1.0
CANCEL_SECONDS = 1.0
# A router that answers nothing for this long hangs, and is killed; its successor adopts its actors.
HUNG_SECONDS = 15.0
# Ctrl-C ends a single node within five seconds; several have a journal that takes its time.
KEEPER_GRACE, KEEPER_GRACE_OF_SEVERAL = 1.0, 2.5
# What faces are run as; they tell how far they are with their end.
HTTP, STREAMS = "repertory.http.face", "repertory.streams.face"

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

    async def run(self, stop: asyncio.Event, hasten: asyncio.Event | None = None) -> bool:
        """Run until `stop` is set. Raises ConfigError when this node runs already.

        1. Take the node's lock. 2. Open the lifeline. 3. Bring up the router, which brings up or
        adopts the serving actors. 4. Start the keeper and the faces. 5. Watch until told to stop.
        6. End in the phases of `Step`. 7. Leave nothing. As soon as `hasten` is set, what is left
        is killed. Returns whether everything ended in order.
        """
        self._paths.create()
        with _node_lock(self._paths):
            lifeline = Lifeline(self._paths.run / "lifeline.sock")
            try:
                in_order = await _unless(hasten or asyncio.Event(), self._run(stop))
            finally:
                for child in self._everybody():
                    await child.kill()
                self._host.kill()
                lifeline.close()
                shutil.rmtree(self._paths.run, ignore_errors=True)
        if in_order:
            log.info(f"phase {Step.EXIT}")
        else:
            log.warning("what had not ended yet was killed, as was asked for")
        return in_order

    async def _run(self, stop: asyncio.Event) -> None:
        await self._host.create_router()
        async with RouterClient(self._paths.router_door, role="supervisor") as client:
            try:
                async with asyncio.timeout(ROUTER_SECONDS):
                    await client.connected.wait()
                self._start_children()
                await self._watch(client, stop)
            except Exception as error:
                log.error("the node ends, for its supervisor cannot go on", why=repr(error))
                await self._shut_down(client)
                raise
            await self._shut_down(client)

    async def _shut_down(self, client: RouterClient) -> None:
        faces = [child for name, child in self._children.items() if name != "keeper"]
        ending = Ending(self._config, client, faces=faces, stop_actors=self._stop_actors)
        await shut_down(ending.phases())

    async def _stop_actors(self) -> None:
        grace = KEEPER_GRACE_OF_SEVERAL if self._config.is_cluster else KEEPER_GRACE
        for last in (self._children.get("keeper"), self._broker):
            if last is not None:
                await last.stop(grace)
        await self._host.stop()

    async def _watch(self, client: RouterClient, stop: asyncio.Event) -> None:
        """Watch the router, and who leads the convention, until `stop` is set."""
        watchers = [asyncio.create_task(self._watch_router(client))]
        if self._has_workers:
            workers = Workers(self._config, self._paths, start=self._start_worker)
            watchers.append(asyncio.create_task(workers.run()))
        if self._host.convention is not None:
            watchers.append(asyncio.create_task(self._host.convention.follow(client)))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopping, *watchers), return_when=asyncio.FIRST_COMPLETED)
            for watcher in watchers:
                if watcher.done():
                    await watcher  # it never ends but by an error
        finally:
            await _cancelled(stopping, *watchers)

    def _everybody(self) -> Iterator[Child]:
        yield from self._children.values()
        if self._broker is not None:
            yield self._broker

    def _start_children(self) -> None:
        modules = {"keeper": "repertory.actors.keeper"}
        if self._config.http.enabled and not self._has_workers:
            modules["http"] = HTTP
        if self._config.kafka.bootstrap_servers:
            modules["streams"] = STREAMS
            if self._embedded_broker:
                self._start_broker(self._config.kafka.bootstrap_servers)
        for name, module in modules.items():
            self._start_child(name, module)

    @property
    def _has_workers(self) -> bool:
        """Whether there are several processes of the HTTP face."""
        return self._config.http.enabled and self._config.http.workers > 1

    def _start_worker(self, name: str, arguments: list[str]) -> None:
        self._start_child(name, HTTP, *arguments)

    def _start_child(self, name: str, module: str, *more: str) -> None:
        arguments = ("--config", str(self._config_path), "--node", self._node, *more)
        followed = module in (HTTP, STREAMS)
        self._children[name] = Child(
            name, module, *arguments, logs=self._paths.logs, followed=followed
        )
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
                async with asyncio.timeout(PING_SECONDS):
                    await client.lost.wait()

    async def _ask_health(self, client: RouterClient) -> bool:
        """Ask the router how it is; return whether it answered. Gives up when it is lost."""
        self.health = await ask_if_there(client, "health", timeout=HUNG_SECONDS) or {}
        if self.health:
            self._note_readiness()
        return bool(self.health)

    async def _replace_router(self, client: RouterClient) -> None:
        log.warning("the router is lost; a new one adopts its actors")
        while True:
            await self._host.create_router()
            try:
                async with asyncio.timeout(ROUTER_SECONDS):
                    await client.connected.wait()
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


async def _unless(hasten: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work; when `hasten` is set before it is done, cancel it and return False."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(hasten.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        await _cancelled(working, waiting)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    _, late = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    for task in late:  # it must not keep the node from ending
        log.error("a task of the supervisor does not end", task=repr(task.get_coro()))


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
