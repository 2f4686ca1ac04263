"""The audit log: a line of JSON for each change, and for each refusal, of who, what and whence."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

# Of one value: names and reasons are shorter, and nobody fills a disk with one request.
TEXT_CHARACTERS = 500

log = structlog.get_logger(__name__)


class Audit:
    """Appends to the audit log of a node. All of its processes may do so at the same time.

    The file is opened for each line, so that it may be moved away at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, action: str, outcome: str, **about: Any) -> None:
        """Append a line; of `about`, what is None or empty is left out.

        All but printable ASCII is escaped, so that nothing that a client sends begins a new line,
        or moves the cursor of a terminal. A line that cannot be written is told in the face's log.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {key: _short(each) for key, each in about.items() if each not in (None, "")}
        line = json.dumps({"at": at, "action": action, "outcome": outcome, **told})
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._path, flags, 0o600)
            try:
                os.write(file, line.encode() + b"\n")  # at once: lines of two processes never mix
            finally:
                os.close(file)
        except OSError as error:
            log.error("the audit log cannot be written", path=str(self._path), why=error.strerror)


def _short(value: Any) -> Any:
    return value[:TEXT_CHARACTERS] if isinstance(value, str) else value
