"""The node's actor system, as its supervisor holds it: start it, create routers in it, end it."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

import structlog
from thespian.actors import ActorSystem

from repertory.actors.convention import ADDRESS, PERIODS, Convention, wire_key
from repertory.actors.messages import StartRouter
from repertory.actors.router import RouterActor
from repertory.actors.wire import (
    ADDRESS_VARIABLE,
    KEY_VARIABLE,
    actor_system,
    convention_updates,
    update_capability,
)
from repertory.config import ClusterConfig, NodePaths

T = TypeVar("T")

# Creating an actor takes 0.15 s; Thespian's own limit, with a dead admin, is 50 s.
CREATE_SECONDS = 15.0
SHUTDOWN_SECONDS = 3.0

log = structlog.get_logger(__name__)


class ActorHost:
    """One Thespian system of a node. Its calls block, so each has a thread of its own.

    `convention` says which convention it is in, if there are several nodes.

    A system whose admin is dead, or which is ended while an actor starts, may hold a call for
    minutes: the threads are daemons, so that nothing waits for them, not even the end of Python.
    """

    def __init__(self, config: ClusterConfig, node: str) -> None:
        self._config = config
        self._node = node
        self._paths = NodePaths(config, node)
        self._system: ActorSystem | None = None
        self._groups: set[int] = set()
        self._attempt = 0
        self.convention = Convention(config, node, self._move) if config.is_cluster else None

    async def create_router(self) -> None:
        """Bring up a router, and the actor system before it if there is none.

        When the system does not answer (its admin was killed) it is ended and a new one started.
        """
        self._attempt += 1
        try:
            await self._call(self._create_router)
        except Exception as error:  # noqa: BLE001 - Thespian raises whatever it likes
            log.warning("the actor system is started afresh", why=str(error) or repr(error))
            self.kill()
            self._attempt += 1
            await self._call(self._create_router)

    def note_router(self, pid: int) -> None:
        """Remember the process group of a router, which is that of its whole system."""
        with contextlib.suppress(ProcessLookupError):
            if (group := os.getpgid(pid)) != os.getpgid(0):
                self._groups.add(group)

    async def stop(self) -> None:
        """End the system: each actor is asked to, then what is left is killed."""
        if self._system is not None:
            with contextlib.suppress(Exception):  # it may be dead; what is left is killed
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await self._call(self._system.shutdown)
        self.kill()

    def kill(self) -> None:
        """End every process of the system at once."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._groups.clear()
        self._system = None

    async def _move(self, leader: str) -> None:
        system = self._system
        if system is None:
            return  # it starts with the new leader

        await self._call(lambda: update_capability(system, ADDRESS, leader))

    async def _call(self, function: Callable[[], T]) -> T:
        called: Future[T] = Future()
        called.set_running_or_notify_cancel()  # whoever waits may give up, the call goes on

        def call() -> None:
            try:
                called.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was called
                called.set_exception(error)

        Thread(target=call, name="thespian", daemon=True).start()
        async with asyncio.timeout(CREATE_SECONDS):
            return await asyncio.wrap_future(called)

    def _create_router(self) -> None:
        attempt = self._attempt
        system = self._system or self._start_system()
        if attempt == self._attempt:
            self._system = system
        router = system.createActor(RouterActor)
        if attempt == self._attempt:  # or another one is created by now: there is to be one
            system.tell(router, StartRouter(self._config, self._node))

    def _start_system(self) -> ActorSystem:
        node = self._config.nodes[self._node]
        capabilities = {}
        if self.convention is None:
            os.environ.setdefault(KEY_VARIABLE, secrets.token_hex(32))
        else:
            secret = self._config.cluster.secret
            assert secret is not None  # several nodes have one, or the configuration is refused
            os.environ[KEY_VARIABLE] = wire_key(secret.get_secret_value())
            os.environ.update(PERIODS)
            capabilities = self.convention.capabilities()
        os.environ[ADDRESS_VARIABLE] = node.host
        # Twenty messages stuck at one busy actor would stop all other sends of their sender.
        os.environ.setdefault("THESPIAN_MAX_PENDING_TRANSMITS", "200")
        os.environ["THESPLOG_FILE"] = str(self._paths.logs / "thespian.log")
        with _output_to(str(self._paths.logs / "actors.log")):
            port = node.admin_port or _free_port(node.host)
            system = actor_system(admin_port=port, capabilities=capabilities)
        if self.convention is not None:
            Thread(target=_log_updates, args=(system,), name="convention", daemon=True).start()
        return system


def _log_updates(system: ActorSystem) -> None:
    try:
        for update in convention_updates(system):
            node = update.remoteCapabilities.get("node", str(update.remoteAdminAddress))
            what = "is in our convention" if update.remoteAdded else "is in our convention no more"
            log.info(f"Thespian says: a system {what}", node=node)
    except Exception as error:  # noqa: BLE001 - it is only for the log, and its system may be gone
        log.debug("Thespian tells nothing more of its convention", why=repr(error))


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _output_to(path: str) -> Iterator[None]:
    """Have processes started meanwhile write to a file: they outlive whoever reads our output."""
    sys.stdout.flush()
    sys.stderr.flush()
    log_file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    kept = os.dup(1), os.dup(2)
    try:
        os.dup2(log_file, 1)
        os.dup2(log_file, 2)
        yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for fileno in (log_file, *kept):
            os.close(fileno)
