"""The development broker as a child process, for tests and for programs that do not use asyncio."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from repertory.errors import RepertoryError

_READY = "listening on "
_PATIENCE = 10.0  # seconds that a clean end may take


class BrokerNotReady(RepertoryError):
    """The broker's process did not come up."""


class BrokerProcess:
    """A broker in a process of its own, which never outlives the thread that started it.

    What was acknowledged is there again after `kill` and `start`, or `restart`. Without a
    `data_dir` the data is in a temporary folder, which `stop` removes. All methods block; not for
    use by several threads.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        options: Sequence[str] = (),
        ready_seconds: float = 20.0,
    ) -> None:
        self.host = host
        self.port = port
        self._data_dir = data_dir
        self._options = list(options)
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[str] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`; known once started, and the same after a restart."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The child's process id; None if it is not running."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start, and wait until clients can connect. Raises BrokerNotReady."""
        if self._process is not None:
            raise BrokerNotReady("the broker runs already")
        command = [sys.executable, "-m", "repertory.streams.devbroker"]
        command += ["--host", self.host, "--port", str(self.port)]
        command += ["--data-dir", str(self._folder()), "--die-with", str(os.getpid())]
        self._process = subprocess.Popen(
            [*command, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, who stops this one in its time
        )
        self.port = int(self._ready_line().rpartition(":")[2])
        return self

    def _ready_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], self._ready_seconds)
        line = self._process.stdout.readline() if ready else ""
        if not line.startswith(_READY):
            self.kill()
            self.stop()
            raise BrokerNotReady(
                f"the broker did not listen on {self.bootstrap_servers} within "
                f"{self._ready_seconds:g} s; its error output says why"
            )
        return line.strip()

    def _folder(self) -> Path:
        if self._data_dir is not None:
            return self._data_dir
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="repertory-broker-")
        return Path(self._temporary.name)

    def stop(self) -> None:
        """End cleanly, and remove the data if it is temporary. Idempotent."""
        self._end()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
            self.kill()

    def kill(self) -> None:
        """End at once, with SIGKILL. Idempotent."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def restart(self) -> Self:
        """End cleanly if running, and start on the same port with the same data."""
        self._end()
        return self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): to its clients it hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Take back `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
