"""The HTTP face: a process that listens, and asks its router."""

import asyncio
import contextlib
import os
import ssl
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.actors.collector import spare_what_is_here
from repertory.actors.face_client import FaceClient
from repertory.actors.phases import Step, finish_seconds
from repertory.actors.process import NodeProcess, run_process
from repertory.errors import ConfigError
from repertory.http.exposure import exposure_fault
from repertory.http.face_tls import key_pair, server_context
from repertory.http.in_hand import InHand
from repertory.http.listening import Listener
from repertory.http.routes import CORE, Core, make_app
from repertory.http.shared_figures import SharedFigures
from repertory.http.spool import sweep

if TYPE_CHECKING:
    from repertory.http.grpc_server import GrpcServer

# For the last replies to leave, then once more for what is cancelled.
LAST_SECONDS = 0.1
# A router takes whoever has said nothing for five seconds for hung.
REPORT_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def serve(process: NodeProcess, stop: asyncio.Event) -> None:
    """Answer requests until `stop` is set, then drain.

    1. Connect to the router. 2. Listen. 3. When the node begins to end, and on `stop` at the
    latest, not ready any more: replies end their connections. 4. On `stop`, accept nothing new.
    5. Finish what is in hand. Raises SystemExit when the port cannot be had.
    """
    process.paths.create()
    tls = _allowed(process)
    sweep(process.paths.spool)
    name = "" if process.worker is None else str(process.worker)
    async with FaceClient(process.paths, role="http", name=name) as router:
        in_hand, shared = InHand(), _shared_figures(process)
        app = make_app(process.config, process.paths, router, in_hand, shared=shared)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LAST_SECONDS)
        await runner.setup()
        grpc = None
        try:
            listener = await Listener.open(runner, process.config.http, tls=tls)
            grpc = await _grpc(process, router, app[CORE], in_hand)
            spare_what_is_here()
            reporting = asyncio.create_task(_report(process, router, listener))
            process.progress.follow(in_hand.drain_from_now)
            await stop.wait()
            in_hand.drain_from_now()
            loop = asyncio.get_running_loop()
            finished = loop.time() + finish_seconds(process.config)
            reporting.cancel()
            if grpc is not None:
                grpc.stop_taking()
            await listener.close()
            process.progress.done(Step.STOP_TAKING)
            log.info("draining: requests in hand are finished")
            await listener.linger()
            # Not left to aiohttp, which would not take the rest of a body that is coming in.
            if not await in_hand.drain(finished - loop.time()):
                log.warning("some requests could not be finished in time")
            await listener.flush(finished - loop.time())
            process.progress.done(Step.COMMIT)
        finally:
            if grpc is not None:
                await grpc.close()
            await runner.cleanup()


def _allowed(process: NodeProcess) -> ssl.SSLContext | None:
    """Return what TLS needs, if there is to be TLS. Raises SystemExit when it must not listen."""
    config, node = process.config, process.node
    try:
        if fault := exposure_fault(config, node, process.paths):
            raise ConfigError(fault)
        return None if config.http.tls is None else server_context(config.http.tls, node)
    except ConfigError as error:
        log.error("must not listen", why=str(error))
        raise SystemExit(1) from None


async def _grpc(
    process: NodeProcess, router: RouterClient, core: Core, in_hand: InHand
) -> "GrpcServer | None":
    config = process.config
    if config.http.grpc_port is None:
        return None
    from repertory.http.grpc_server import GrpcServer  # 14 MB that others do without

    keys = None if config.http.tls is None else key_pair(config.http.tls, process.node)
    return await GrpcServer.open(config, router, core=core, in_hand=in_hand, keys=keys)


def _shared_figures(process: NodeProcess) -> SharedFigures | None:
    if process.worker is None:
        return None
    return SharedFigures(process.paths.face_figures, process.worker)


async def _report(process: NodeProcess, router: RouterClient, listener: Listener) -> None:
    """Tell each router where this process listens; where there are several, that it still does."""
    several = process.worker is not None
    told = {"url": listener.url, "pid": os.getpid()} if several else {"url": listener.url}
    while True:
        await router.connected.wait()
        router.tell("status", **told)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS if several else None):
                await router.lost.wait()  # the next one has to be told as well


def main() -> None:
    """Run the face as a process of a node."""
    run_process("http", serve)


if __name__ == "__main__":
    main()
