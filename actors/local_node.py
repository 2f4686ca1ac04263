"""A node in a process of its own, for examples, benchmarks and tests."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import orjson

from repertory.actors.lifeline import VARIABLE, die_with_parent
from repertory.actors.phases import finish_seconds
from repertory.config import ClusterConfig, NodePaths, load_config


class LocalNode:
    """`repertory up`, started, watched and ended by this process; its output goes to `log`.

    It never outlives this process. A context manager: on entry it is up, though not yet ready.
    """

    def __init__(self, config: Path, *arguments: str, node: str = "a", log: Path) -> None:
        self.config_path = config
        self.config: ClusterConfig = load_config(config).of_node(node)
        self.paths = NodePaths(self.config, node)
        self.url = f"http://{self.config.http.host}:{self.config.http.port}"
        self.headers: dict[str, str] = {}  # of what `get` asks, such as a token
        self._command = [sys.executable, "-m", "repertory", "up", "--config", str(config)]
        self._command += ["--node", node, *arguments]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False  # to end

    def __enter__(self) -> Self:
        """Start the node."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the node in order."""
        self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's process. Raises RuntimeError when it was not started."""
        if self._process is None:
            raise RuntimeError("the node was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the node, without waiting for anything."""
        self._told = False
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for this process to handle
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )

    def wait_until(self, ready: bool = True, timeout: float = 60.0) -> None:
        """Wait for the HTTP face to answer, and with `ready` for a model to serve.

        Raises TimeoutError, or RuntimeError with the end of the log when the node has ended.
        """
        path = "/health/ready" if ready else "/health/live"
        try:
            wait_until(lambda: self._says_yes(path), f"{path} says yes", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the log ends: {self.log_tail()}") from error

    def _says_yes(self, path: str) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the node has ended: {self.log_tail()}")
        try:
            with urllib.request.urlopen(self.url + path, timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def processes(self) -> list[int]:
        """Return the processes of the node but its supervisor: those that hold its lifeline."""
        lifeline = f"{VARIABLE}={self.paths.run / 'lifeline.sock'}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdecimal() and lifeline in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def wait_gone(self, timeout: float = 10.0) -> None:
        """Wait until no process of the node is left. Raises TimeoutError."""
        wait_until(lambda: not self.processes(), "every process of the node has ended", timeout)

    def get(self, path: str) -> Any:
        """Return the JSON at `path`. Raises urllib's errors."""
        request = urllib.request.Request(self.url + path, headers=self.headers)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return orjson.loads(reply.read())

    def log_tail(self, size: int = 2000) -> str:
        """Return the end of what the supervisor printed."""
        return self._log.read_bytes()[-size:].decode(errors="replace") if self._log.exists() else ""

    def tell_to_end(self) -> None:
        """Have the node end in order (SIGTERM), without waiting for it. Idempotent."""
        if self._process is not None and self._process.poll() is None and not self._told:
            self._told = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self, timeout: float | None = None) -> int:
        """End the node in order and return its exit code. Idempotent.

        Without a `timeout` it has as long as its phases may take, and some seconds.
        """
        if self._process is None:
            return 0
        self.tell_to_end()
        try:
            return self._process.wait(self._patience() if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _patience(self) -> float:
        config = self.config
        seconds = 8.0 + finish_seconds(config) + config.http.drain_ms / 1000
        return seconds + config.cluster.handover_ms / 1000 if config.is_cluster else seconds

    def kill(self) -> None:
        """End the supervisor by SIGKILL; its lifeline ends the rest."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()


def wait_until(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Wait for an event that other processes bring about. Raises TimeoutError, naming it."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
