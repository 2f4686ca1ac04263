"""A broker that is slower than its clients: it is stopped for most of the time."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

PERIOD = 0.5
"""Seconds of a stop and a go together: well below every time-out of a client."""


@contextlib.contextmanager
def throttled(pid: int, stopped: float) -> Iterator[None]:
    """Have a process stand still (SIGSTOP) for a part of the time, spread evenly over it."""
    ended = threading.Event()

    def body() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not ended.is_set():
                os.kill(pid, signal.SIGSTOP)
                ended.wait(PERIOD * stopped)
                os.kill(pid, signal.SIGCONT)
                ended.wait(PERIOD * (1 - stopped))

    thread = threading.Thread(target=body, name="throttle")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
