"""Processes that the supervisor starts, watches and starts again: the keeper and the faces."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import structlog

from repertory.actors.phases import Step
from repertory.actors.progress import ProgressOf

# What dies again and again is started again after this long, then twice as long, …
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 2.0
# One that ran for this long came up, so what ended it was not its start.
STEADY_SECONDS = 3.0
# glibc gives each thread of librdkafka an arena of its own, which keeps what it once held: without
# a limit, a face that is held up grows for as long as new threads meet large batches.
ARENAS = "MALLOC_ARENA_MAX"

log = structlog.get_logger(__name__)


class Child:
    """A module run as a process of its own, for as long as it is wanted.

    It has a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone. What
    it prints goes to a log file. One that is `followed` is given a descriptor (`--progress`) by
    which it tells how far it is with its end.
    """

    def __init__(
        self, name: str, module: str, *arguments: str, logs: Path, followed: bool = False
    ) -> None:
        self.name = name
        self._followed = followed
        self._progress: ProgressOf | None = None
        self._command = (sys.executable, "-m", module, *arguments)
        self._log = logs / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._runner: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it, and start it again whenever it ends."""
        self._runner = asyncio.create_task(self._run())

    def leave(self) -> None:
        """Tell one that is followed that the node begins to end."""
        if self._progress is not None:
            self._progress.begin(Step.READINESS)

    async def terminate(self) -> None:
        """Ask it to end (SIGTERM), and start it no more. Idempotent."""
        if await self._release() and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def done(self, step: Step) -> None:
        """Wait until one that is followed has done a phase of its end, or is gone."""
        if self._progress is not None:
            await self._progress.done(step)

    async def stop(self, grace: float) -> None:
        """Ask it to end (SIGTERM), wait `grace` seconds, then kill it. Idempotent."""
        await self.terminate()
        if self._process is None:
            return
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            log.warning("it did not end in time and is killed", process=self.name)
        await self.kill()

    async def kill(self) -> None:
        """End it at once, and start it no more. Idempotent."""
        await self._release()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                if self._process.returncode is None:
                    os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._forget()

    async def _release(self) -> bool:
        """Start it no more; return whether it was to be, until now."""
        runner, self._runner = self._runner, None
        if runner is None:
            return False
        runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runner
        return True

    def _forget(self) -> None:
        self._process = None
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    async def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while True:
            started = time.monotonic()
            code = await self._run_once()
            steady = time.monotonic() - started > STEADY_SECONDS
            backoff = FIRST_BACKOFF if steady else min(backoff * 2, LAST_BACKOFF)
            self.restarts += 1
            log.warning(
                "it ended and is started again", process=self.name, code=code, log=str(self._log)
            )
            await asyncio.sleep(backoff)

    async def _run_once(self) -> int | str:
        """Return its exit code, or why it could not be started."""
        try:
            self._process = await self._started()
        except OSError as error:  # no memory, no space: that may pass
            self._forget()
            return str(error)
        code = await self._process.wait()
        self._forget()
        return code

    async def _started(self) -> asyncio.subprocess.Process:
        command, descriptors = [*self._command], []
        if self._followed:
            self._progress = ProgressOf()
            descriptors = [self._progress.fileno]
            command += ["--progress", str(self._progress.fileno)]
        try:
            with self._log.open("ab") as output:
                return await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env=os.environ | {ARENAS: os.environ.get(ARENAS, "2")},
                    pass_fds=descriptors,
                )
        finally:
            if self._progress is not None:
                self._progress.started()
