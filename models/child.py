"""Child processes that run what is not trusted: started, talked to, and killed for sure."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from repertory.models.pipe import Pipe

# A child is bound to the *thread* that started it, and dies with it; this one lives as long as the
# process, whichever thread asks for a child.
_starter = ThreadPoolExecutor(1, thread_name_prefix="repertory-children")

# What of this process's environment a child may see; the rest may hold secrets.
_PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "JAVA_HOME")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use."""

    memory_bytes: int  # of address space
    file_bytes: int  # of each file that it writes


class Child:
    """One child process: `module` of ours, confined, with one end of a socket pair.

    The module has a function `serve(handle, network)`: the file descriptor of its end, and what
    `repertory.models.confinement.confine` returned. `folder` is its working directory and home.
    """

    def __init__(
        self, module: str, *, folder: Path, limits: Limits, own_group: bool = False
    ) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the child
        ours, theirs = socket.socketpair()
        self.pipe = Pipe(ours)
        self._own_group = own_group
        with theirs:
            numbers = (theirs.fileno(), os.getpid(), limits.memory_bytes, limits.file_bytes)
            arguments = [module, *map(str, numbers)]
            self._process = _starter.submit(
                self._start, arguments, folder, theirs.fileno()
            ).result()

    def _start(self, arguments: list[str], folder: Path, handle: int) -> subprocess.Popen[bytes]:
        # -P keeps the working directory, where a model's files may lie, off the import path.
        command = [sys.executable, "-P", "-B", "-m", "repertory.models.confinement", *arguments]
        return subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(handle,),
            start_new_session=self._own_group,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def interrupt(self) -> None:
        """Kill the process from another thread than the one that talks to it, which then notices."""
        if self._own_group:
            self._kill_group()
        self._process.kill()

    def kill(self) -> str:
        """End the process, and its group if it has its own; return how it ended. Idempotent.

        A process that ended by itself, or is just about to, is let; its own end is returned.
        """
        self.pipe.close()
        try:
            self._process.wait(0.2)  # after its pipe broke, a dying process may still be dying
            by_itself = True
        except subprocess.TimeoutExpired:
            by_itself = False
        self.interrupt()
        code = self._process.wait()
        if not by_itself:
            return "killed"
        return f"signal {_signal_name(-code)}" if code < 0 else f"exit status {code}"

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of what the process wrote to stderr."""
        if self._stderr.closed:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        return self._stderr.read().decode(errors="replace")

    def close(self) -> None:
        """End the process and free what is held. Idempotent."""
        self.kill()
        self._stderr.close()


def _environment(folder: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # its sums differ in the last bits from machine to machine
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
