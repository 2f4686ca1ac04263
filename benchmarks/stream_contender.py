"""A contender: how it is started, told, and ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stream_job import VARIABLE, Job, environment
from benchmarks.stream_processes import with_job
from benchmarks.stream_workloads import ROOT

from repertory.actors.lifeline import die_with_parent

_TAIL = 1500  # bytes of a log that are shown
_END_SECONDS = 15.0  # an orderly end may take


class ContenderFailed(Exception):
    """A contender did not do its job; the message ends with its logs' tails."""


class Running:
    """A contender at work, whose logs are in its folder."""

    def __init__(self, folder: Path, alive: Callable[[], bool]) -> None:
        self._folder = folder
        self._alive = alive

    def check(self) -> None:
        """Raise ContenderFailed if it has ended."""
        if not self._alive():
            raise self.failed("it has ended")

    def failed(self, why: str) -> ContenderFailed:
        """Return the error that tells why, with the ends of the logs."""
        logs = [f"{log.name} ends:\n{_tail(log)}" for log in sorted(self._folder.rglob("*.log"))]
        return ContenderFailed("\n".join([why, *logs]))


def _tail(log: Path) -> str:
    return log.read_bytes()[-_TAIL:].decode(errors="replace")


Start = Callable[[Job], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One subject of the benchmark, with one guarantee."""

    name: str
    title: str
    exactly_once: bool
    start: Start
    versions: Callable[[], str]

    @property
    def guarantee(self) -> str:
        """What it promises for each record."""
        return "exactly-once" if self.exactly_once else "at-least-once"


def program(command: Callable[[], list[str]], *, copies: int = 1) -> Start:
    """Return what runs a program that finds its job in the environment."""

    @contextmanager
    def start(job: Job) -> Iterator[Running]:
        with launched(command(), Path(job.folder), job.file, copies=copies) as processes:
            yield Running(
                Path(job.folder), lambda: all(process.poll() is None for process in processes)
            )

    return start


@contextmanager
def launched(
    command: list[str], folder: Path, mark: Path, *, copies: int = 1
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run a program in a folder, where its log is, and leave nothing of it behind.

    All its processes have the path `mark` in their environment.
    """
    variables = {VARIABLE: str(mark), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    variables["PYTHONUNBUFFERED"] = "1"
    with (folder / "contender.log").open("ab") as output, environment(variables):
        processes = [
            subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the harness
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )
            for _ in range(copies)
        ]
    try:
        yield processes
    finally:
        _end(processes, mark)


def _end(processes: list[subprocess.Popen[bytes]], mark: Path) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        process.kill()
        process.wait()
    for pid in with_job(mark)():  # what a program left behind
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
