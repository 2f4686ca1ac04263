"""What `repertory doctor` says about the snapshots that hosts share."""

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from repertory.errors import JournalError
from repertory.finding import Finding
from repertory.journal.shared_files import SharedFiles, hide_user

# Longer than file systems take to say that nobody answers, mostly.
SECONDS = 15.0

_WHAT = "snapshots.url"


def examine_snapshots(url: str | None, *, seconds: float = SECONDS) -> Iterator[Finding]:
    """Look whether snapshots can be shared. A small file is written and removed."""
    if url is None:
        return
    answers: SimpleQueue[Finding] = SimpleQueue()
    looking = threading.Thread(target=lambda: answers.put(_look(url)), daemon=True)
    looking.start()
    try:
        yield answers.get(timeout=seconds)
    except Empty:
        found = f"{hide_user(url)} has not answered for {seconds:g} s"
        yield Finding("failed", _WHAT, found, "is it reachable from this host?")


def _look(url: str) -> Finding:
    try:
        files = SharedFiles(url)
    except JournalError as error:
        return Finding("failed", _WHAT, str(error), "or choose another URL in cluster.yaml")
    try:
        files.probe()
    except JournalError as error:
        mend = "nodes must be able to list, read, write and remove there"
        return Finding("failed", _WHAT, str(error), mend)
    return Finding("ok", _WHAT, f"{hide_user(url)} can be written")
