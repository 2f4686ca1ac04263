"""What a benchmark was measured on."""

import contextlib
import os
import platform
from pathlib import Path


def machine() -> str:
    """Return the processor, how many cores, the memory, and the Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rest = f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
        return f"{name}, {rest}"
    return f"{platform.processor()}, {rest}"
