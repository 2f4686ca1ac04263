"""Several processes of the HTTP face, on the same ports."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable

import structlog

from repertory.actors.children import FIRST_BACKOFF, LAST_BACKOFF
from repertory.actors.reservation import Reservation
from repertory.config import ClusterConfig, NodePaths

log = structlog.get_logger(__name__)


class Workers:
    """Has the ports of the HTTP face held, and its processes started, which share them.

    `start` starts a process of this name, with these arguments beside the usual ones.
    """

    def __init__(
        self, config: ClusterConfig, paths: NodePaths, *, start: Callable[[str, list[str]], None]
    ) -> None:
        self._http = config.http
        self._figures = paths.face_figures
        self._start = start

    async def run(self) -> None:
        """Take the ports, try again until they are free, start the processes; hold on to the ports.

        It ends by being cancelled. The processes go on then, and keep the ports to themselves for
        as long as one of them listens.
        """
        shutil.rmtree(self._figures, ignore_errors=True)  # of a node that was killed
        self._figures.mkdir(mode=0o700)
        with contextlib.ExitStack() as held:
            ports = []
            if (grpc_port := self._http.grpc_port) is not None:
                ports += ["--grpc-port", str(await self._reserve(grpc_port, held))]
            ports += ["--http-port", str(await self._reserve(self._http.port, held))]
            for number in range(1, self._http.workers + 1):
                self._start(f"http-{number}", ["--worker", str(number), *ports])
            await asyncio.Event().wait()

    async def _reserve(self, port: int, held: contextlib.ExitStack) -> int:
        backoff, host = FIRST_BACKOFF, self._http.host
        while True:
            try:
                return held.enter_context(Reservation(host, port)).port
            except OSError as error:
                log.error("cannot listen", host=host, port=port, why=error.strerror)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF)
