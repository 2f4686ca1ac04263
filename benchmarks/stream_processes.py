"""What processes cost: CPU seconds and memory, read from /proc."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from benchmarks.stream_job import VARIABLE

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_LOOK_AGAIN = 1.0  # seconds after which processes that are new are looked for

Find = Callable[[], set[int]]


def with_job(job_file: Path) -> Find:
    """Return what finds the processes of a job: those told of it, and all below them."""
    mark = f"{VARIABLE}={job_file}".encode()

    def find() -> set[int]:
        told: set[int] = set()
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdecimal() and mark in (folder / "environ").read_bytes():
                    told.add(int(folder.name))
        return told.union(*map(below, told))

    return find


def below(pid: int) -> set[int]:
    """Return a process and its descendants; nothing if it is gone."""
    with contextlib.suppress(psutil.Error):
        return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return set()


class Processes:
    """A set of processes that may come and go, and what they have cost so far."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: set[int] = set()
        self._looked = -_LOOK_AGAIN
        self._ticks: dict[tuple[int, str], int] = {}  # by pid and start

    def pids(self) -> set[int]:
        """Return those that were there a second ago, or are there now."""
        if time.monotonic() - self._looked >= _LOOK_AGAIN:
            self._known = self._find()
            self._looked = time.monotonic()
        return self._known

    def cpu_seconds(self) -> float:
        """Return the CPU time of all, also of those that have ended meanwhile."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                # The name, in brackets, may hold blanks.
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                self._ticks[pid, stat[19]] = int(stat[11]) + int(stat[12])
        return sum(self._ticks.values()) / _TICK

    def memory_bytes(self) -> int:
        """Return the memory of all, pages that several share counted once (PSS)."""
        return sum(map(pss_bytes, self.pids()))


def pss_bytes(pid: int) -> int:
    """Return a process's share of memory; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def rss_bytes(pid: int) -> int:
    """Return a process's resident memory; 0 if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0
