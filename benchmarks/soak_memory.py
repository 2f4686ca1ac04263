"""Samples of the processes of a node: memory, open files, threads; and whether they stay flat."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from rich.table import Table

MEBIBYTE = 2**20
# More than that is two bytes for each of a million requests, or six KiB for each of 360 swaps.
FLAT_MIB_PER_HOUR = 2.0
# Connections, and threads of a pool, may be in use or not at the moment of a sample.
FLAT_COUNT = 4
ALL = "all of the node"
PASSING = "those that come and go"


class Sample(NamedTuple):
    """A process at a time: bytes that are its share (PSS), those that are no file's, counts."""

    pss: int
    anonymous: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Course:
    """How a process went: MiB at the beginning, half way and at the end, and the growth an hour.

    `growth` is of the anonymous memory: pages of files are shared with whatever else runs on the
    machine, and their share moves with it. It is by least squares, and where processes come and go,
    from the median of the first third to that of the last.
    """

    process: str
    mebibytes: tuple[float, float, float]
    growth: float
    files: tuple[int, int]
    threads: tuple[int, int]

    @property
    def flat(self) -> bool:
        """Whether it would go on like that for ever."""
        counts = (self.files, self.threads)
        return self.growth <= FLAT_MIB_PER_HOUR and all(
            last <= first + FLAT_COUNT for first, last in counts
        )


def sample(pids: Sequence[int]) -> dict[str, Sample]:
    """Return how each process is now, by what it is and its number."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError, psutil.Error):
            process = psutil.Process(pid)
            sizes = _rollup(pid)
            found[_label(process)] = Sample(
                sizes["Pss"], sizes["Pss_Anon"], process.num_fds(), process.num_threads()
            )
    return found


def _rollup(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {
        name: int(size.split()[0]) * 1024 for name, _, size in (e.partition(":") for e in lines)
    }


def _label(process: psutil.Process) -> str:
    command = process.cmdline()
    modules = [after for flag, after in pairwise(command) if flag == "-m"]
    if command[-1:] == ["--multiprocessing-fork"]:
        modules = ["actor"]
    return f"{(modules or ['helper'])[-1]} ({process.pid})"


def folder_bytes(folder: Path) -> int:
    """Return what the files of a folder hold."""
    total = 0
    for each in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += each.stat().st_size if each.is_file() else 0
    return total


class Watch:
    """Collects samples, each with its time."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, dict[str, Sample]]] = []

    def add(self, found: dict[str, Sample]) -> None:
        """Take a sample."""
        self._taken.append((time.monotonic(), found))

    @property
    def mebibytes(self) -> float:
        """The last sample of all processes together."""
        return sum(each.pss for each in self._taken[-1][1].values()) / MEBIBYTE

    def courses(self, warm_seconds: float) -> list[Course]:
        """Return how each process went that was there all the time, the others, and all together.

        Sizes begin after a third of the time to get warm, growth is that after all of it.
        """
        began = self._taken[0][0]
        taken = [each for each in self._taken if each[0] >= began + warm_seconds / 3]
        times = [when for when, _ in taken if when >= began + warm_seconds]
        lasting = set.intersection(*(set(found) for _, found in taken))
        rows: dict[str, list[Sample]] = defaultdict(list)
        for _, found in taken:
            for name in sorted(lasting):
                rows[name].append(found[name])
            rows[PASSING].append(_sum([found[name] for name in found.keys() - lasting]))
            rows[ALL].append(_sum(list(found.values())))
        return [_course(name, times, samples) for name, samples in rows.items()]


def _sum(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(sum, zip(*samples, strict=True))) if samples else Sample(0, 0, 0, 0)


def _course(name: str, times: Sequence[float], samples: Sequence[Sample]) -> Course:
    tenth = max(1, len(samples) // 10)
    middle = (len(samples) - tenth) // 2
    parts = (samples[:tenth], samples[middle : middle + tenth], samples[-tenth:])
    # Medians of a tenth of the samples: a check in the green room lasts less.
    begin, half, end = (float(np.median([each.pss for each in part])) / MEBIBYTE for part in parts)
    first, last = parts[0], parts[2]
    growth = _stepwise if name in (PASSING, ALL) else _least_squares
    return Course(
        name,
        (begin, half, end),
        growth(times, [each.anonymous / MEBIBYTE for each in samples[-len(times) :]]),
        (int(np.median([e.files for e in first])), int(np.median([e.files for e in last]))),
        (int(np.median([e.threads for e in first])), int(np.median([e.threads for e in last]))),
    )


def _least_squares(times: Sequence[float], mebibytes: Sequence[float]) -> float:
    if len(times) < 2:
        return 0.0
    return float(np.polyfit(np.subtract(times, times[0]) / 3600, mebibytes, 1)[0])


def _stepwise(times: Sequence[float], mebibytes: Sequence[float]) -> float:
    third = len(times) // 3
    if not third:
        return 0.0
    step = float(np.median(mebibytes[-third:]) - np.median(mebibytes[:third]))
    return step / ((times[-1] - times[0]) * 2 / 3) * 3600


def course_table(courses: Sequence[Course]) -> Table:
    """Return what the report shows of the courses."""
    table = Table("process", title="Memory (PSS, MiB), open files, threads")
    for heading in ("start", "middle", "end", "MiB/hour", "files", "threads", ""):
        table.add_column(heading, justify="right")
    for each in courses:
        table.add_row(
            each.process,
            *(f"{size:.1f}" for size in each.mebibytes),
            f"{each.growth:+.2f}",
            "{} → {}".format(*each.files),
            "{} → {}".format(*each.threads),
            "flat" if each.flat else "GROWS",
        )
    return table
