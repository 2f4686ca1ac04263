"""Why a process ended, told to its successor."""

import contextlib
from pathlib import Path


class LastWords:
    """A sentence in a file, for the next process of the same role."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def leave(self, sentence: str) -> None:
        """Leave a sentence, if the disk takes it."""
        with contextlib.suppress(OSError):
            self._path.write_text(sentence)

    def take(self) -> str | None:
        """Return the sentence, once."""
        try:
            sentence = self._path.read_text()
            self._path.unlink()
        except OSError:
            return None
        return sentence
