"""A file that becomes readable at a moment: a deadline that an epoll can wait for."""

import contextlib
import ctypes
import os

_CLOCK_MONOTONIC = 1  # the clock of time.monotonic on Linux
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_NANOSECONDS = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """A Linux timerfd (timerfd_create(2)); Python has it from 3.13 on."""

    def __init__(self) -> None:
        self._file = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._at: float | None = None

    def fileno(self) -> int:
        """Return the file that is readable from the moment on."""
        return int(self._file)

    def set(self, at: float | None) -> None:
        """Ring at `at`, a time of time.monotonic, in place of what was set before; None: never."""
        if at == self._at:
            return
        self._at = at
        # Zero would mean never; a moment that is over is due at once.
        moment = 0 if at is None else max(1, int(at * _NANOSECONDS))
        timer = _Timer(value=_Timespec(*divmod(moment, _NANOSECONDS)))
        if _libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(timer), None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def stop_ringing(self) -> None:
        """Make the file unreadable until the next moment. Idempotent."""
        self._at = None
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)

    def close(self) -> None:
        """Free the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
