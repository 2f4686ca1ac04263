"""A process never outlives its supervisor, however that one dies.

The supervisor listens on a UNIX socket and never says a word; every process of the node holds a
connection to it. When the supervisor is gone, even by SIGKILL, the kernel closes the connection
and its holders end. Thespian detaches its processes from their starter, so signals on a parent's
death (PR_SET_PDEATHSIG) would not do for them.
"""

import ctypes
import os
import signal
import socket
import threading
from pathlib import Path

VARIABLE = "REPERTORY_LIFELINE"  # the socket's path, in the environment of every process of a node
OWNER_VARIABLE = "REPERTORY_LIFELINE_OWNER"  # the supervisor's pid, which needs no lifeline

_held = threading.Lock()


class Lifeline:
    """The supervisor's end."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(1024)
        os.environ[VARIABLE] = str(path)
        os.environ[OWNER_VARIABLE] = str(os.getpid())

    def close(self) -> None:
        """Let go: every process that still holds on ends."""
        self._listener.close()
        self._path.unlink(missing_ok=True)
        os.environ.pop(VARIABLE, None)
        os.environ.pop(OWNER_VARIABLE, None)


def hold_lifeline() -> None:
    """End this process as soon as its supervisor is gone. Idempotent; nothing without one.

    A connection waits unaccepted in the listener's backlog: that is all it is for.
    """
    path = os.environ.get(VARIABLE)
    if path is None or os.environ.get(OWNER_VARIABLE) == str(os.getpid()):
        return
    if not _held.acquire(blocking=False):
        return
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        os._exit(0)  # the supervisor died before we came up
    threading.Thread(target=_end_with, args=(sock,), name="lifeline", daemon=True).start()


def _end_with(sock: socket.socket) -> None:
    try:
        sock.recv(1)
    finally:
        # Not sys.exit: no clean-up may hang here, and what matters is on disk already.
        os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies: for children that are not actors."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
