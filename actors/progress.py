"""How the supervisor follows a process through the first phases of its end.

Both hold an end of a socket pair. A phase is one byte, its number: the supervisor says that one
begins, the process that it has done one. A process that is gone has done all of them.
"""

import asyncio
import contextlib
import os
import socket
from collections import defaultdict
from collections.abc import Callable

from repertory.actors.phases import Step


class Progress:
    """The process's end; nothing is told to or by a process that was given no descriptor."""

    def __init__(self, fileno: int | None = None) -> None:
        self._socket = None
        self._leave: Callable[[], None] | None = None
        if fileno is not None:
            os.set_inheritable(fileno, False)
            self._socket = socket.socket(fileno=fileno)
            self._socket.setblocking(False)

    def follow(self, leave: Callable[[], None]) -> None:
        """Call `leave` when the node begins to end. Needs a running loop."""
        if self._socket is not None:
            self._leave = leave
            asyncio.get_running_loop().add_reader(self._socket, self._arrived)

    def done(self, step: Step) -> None:
        """Tell that a phase is done; those before it are, as well."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # a supervisor that is gone ends us by the lifeline
                self._socket.send(bytes([step]))

    def _arrived(self) -> None:
        assert self._socket is not None
        assert self._leave is not None
        with contextlib.suppress(OSError):
            if Step.READINESS in self._socket.recv(64):
                self._leave()
                return
        asyncio.get_running_loop().remove_reader(self._socket)  # nobody is there any more


class ProgressOf:
    """The supervisor's end: of one process, from its start to its end."""

    def __init__(self) -> None:
        self._socket, self._theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._theirs.set_inheritable(True)
        self._done: defaultdict[Step, asyncio.Event] = defaultdict(asyncio.Event)
        asyncio.get_running_loop().add_reader(self._socket, self._arrived)

    @property
    def fileno(self) -> int:
        """The descriptor that the process is to be given."""
        return self._theirs.fileno()

    def started(self) -> None:
        """Let go of the process's end, which is its own now."""
        self._theirs.close()

    def begin(self, step: Step) -> None:
        """Tell the process that a phase begins."""
        with contextlib.suppress(OSError):  # it is gone
            self._socket.send(bytes([step]))

    async def done(self, step: Step) -> None:
        """Wait until the process has done a phase, or is gone."""
        await self._done[step].wait()

    def close(self) -> None:
        """Take it that the process is gone. Idempotent."""
        self._theirs.close()
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        self._note(Step.EXIT)

    def _arrived(self) -> None:
        try:
            said = self._socket.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._note(max(said))
        else:
            self.close()

    def _note(self, last: int) -> None:
        for step in Step:
            if step <= last:
                self._done[step].set()
