"""The shared store of snapshots, on a thread of its own: nobody waits for it longer than they want."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

from repertory.errors import JournalError
from repertory.journal.shared_files import hide_user
from repertory.journal.shared_snapshots import SharedSnapshots

# An answer that takes longer is told as a trouble, though it may still come.
SLOW_SECONDS = 10.0
# What is to be kept there is tried again after so long, then after twice as long, and so on.
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
# A process that ends waits so long for what is being written. What is not, is after its restart.
CLOSE_SECONDS = 1.0

T = TypeVar("T")
Work = Callable[[SharedSnapshots], T]

log = structlog.get_logger(__name__)


class Sharing:
    """Asks the shared store, one thing after the other.

    `tell` is called, on any thread, with what is wrong as soon as something is, and with None when
    all is well again.
    """

    def __init__(self, url: str, tell: Callable[[str | None], None] = lambda trouble: None) -> None:
        self._url = url
        self._tell = tell
        self._store: SharedSnapshots | None = None
        self._changed = threading.Condition()
        self._asked: deque[tuple[Future[Any], Work[Any]]] = deque()
        self._kept: dict[str, Work[object]] = {}
        self._not_before, self._retry = 0.0, FIRST_RETRY
        self._closed = False
        self._turn = 0  # of the thread: what was asked so far
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="sharing", daemon=True)
        self._thread.start()

    def ask(self, work: Work[T]) -> Future[T]:
        """Begin to ask the store; the answer may be a JournalError. Whoever gives up cancels it."""
        future: Future[T] = Future()
        with self._changed:
            self._asked.append((future, work))
            self._changed.notify()
        return future

    def keep(self, key: str, work: Work[object]) -> None:
        """Begin to do something, again until it succeeds, or something else has the same key."""
        with self._changed:
            self._kept.pop(key, None)
            self._kept[key] = work
            self._changed.notify()

    def close(self) -> None:
        """End the thread; what is not done is given up after a moment."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=CLOSE_SECONDS)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            future, work = job
            if future is None or future.set_running_or_notify_cancel():
                self._do(future, work)

    def _next(self) -> tuple[Future[Any] | None, Work[Any]] | None:
        """Wait for something to do, and return it; None when this is closed."""
        with self._changed:
            while True:
                if self._asked and not self._closed:
                    return self._asked.popleft()
                wait = self._not_before - time.monotonic()
                if self._kept and wait <= 0:
                    key = next(iter(self._kept))
                    return None, self._once(key, self._kept[key])
                if self._closed:
                    return None
                self._changed.wait(wait if self._kept else None)

    def _once(self, key: str, work: Work[object]) -> Work[None]:
        """Return work that is forgotten when it is done, and put off when it fails."""

        def do(store: SharedSnapshots) -> None:
            work(store)
            with self._changed:
                if self._kept.get(key) is work:
                    del self._kept[key]

        return do

    def _do(self, future: Future[Any] | None, work: Work[Any]) -> None:
        self._turn += 1
        watch = threading.Timer(SLOW_SECONDS, self._is_slow, (self._turn,))
        watch.daemon = True
        watch.start()
        try:
            self._store = self._store or SharedSnapshots(self._url)
            answer = work(self._store)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any one job
            told = self._failed(error)
            if future is not None:
                future.set_exception(told)
        else:
            self._well()
            if future is not None:
                future.set_result(answer)
        finally:
            watch.cancel()

    def _failed(self, error: Exception) -> JournalError:
        with self._changed:
            self._turn += 1
            self._not_before = time.monotonic() + self._retry
            self._retry = min(2 * self._retry, LAST_RETRY)
        if not isinstance(error, JournalError):
            log.exception("a defect, in work with shared snapshots", url=hide_user(self._url))
            error = JournalError(f"{type(error).__name__}: {error}")
        self._note(f"shared snapshots: {error}")
        return error

    def _well(self) -> None:
        with self._changed:
            self._turn += 1  # a watch that goes off now has nothing to say
            self._not_before, self._retry = 0.0, FIRST_RETRY
        self._note(None)

    def _is_slow(self, turn: int) -> None:
        if turn == self._turn:
            url = hide_user(self._url)
            self._note(f"shared snapshots: {url} has not answered for {SLOW_SECONDS:g} s")

    def _note(self, trouble: str | None) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble is not None and before is None:
            log.error("snapshots cannot be shared; it is tried again", why=trouble)
        elif trouble is None and before is not None:
            log.info("snapshots can be shared again", url=hide_user(self._url))
        if trouble != before:
            self._tell(trouble)
