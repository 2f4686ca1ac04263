"""What the processes that make load have in common: settings in, a word when they run, a report out.

Such a process reads its settings as one line of JSON, says `running` once its load succeeds, and
when its standard input ends brings everything to an end and says its report as one line of JSON.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from repertory.actors.lifeline import die_with_parent

RUNNING = b"running\n"


class LoadProcess:
    """One of them, as its parent sees it. It never outlives the parent."""

    def __init__(self, module: str, settings: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
        )
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(dict(settings)) + b"\n")
        self._process.stdin.flush()

    def wait_running(self) -> None:
        """Wait until its load succeeds. Raises RuntimeError if it never did."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != RUNNING:
            raise RuntimeError(f"the load did not begin: exit code {self._process.wait()}")

    def end(self) -> Any:
        """Have it bring everything to an end, and return its report."""
        out, _ = self._process.communicate()
        return orjson.loads(out)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        self._process.kill()
        self._process.communicate()


def run(body: Callable[[dict[str, Any], asyncio.Event], Awaitable[dict[str, Any]]]) -> None:
    """Be such a process: `body(settings, stop)` returns the report, soon after `stop` is set."""
    settings = orjson.loads(sys.stdin.buffer.readline())

    async def main() -> dict[str, Any]:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        threading.Thread(target=_wait_for_end, args=(loop, stop), daemon=True).start()
        return await body(settings, stop)

    sys.stdout.buffer.write(orjson.dumps(asyncio.run(main())) + b"\n")


def _wait_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


def say_running() -> None:
    """Tell the parent that the load succeeds."""
    sys.stdout.buffer.write(RUNNING)
    sys.stdout.buffer.flush()
