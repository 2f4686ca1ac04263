"""What all archives of a decoy have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from repertory.actors.decoy_rows import Rows
from repertory.errors import RepertoryError


class ArchiveFailed(RepertoryError):
    """The archive cannot be written or read; the message says why, and how to mend it."""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A segment of a node's spool, there or in the archive. Pieces sort by their age."""

    number: int  # microseconds of the epoch when it was begun
    node: str
    data_type: str

    @property
    def name(self) -> str:
        """What tells it from all others of its data type."""
        return f"{self.node}-{self.number:016d}"


class Archive(Protocol):
    """Where inputs are kept. Calls block."""

    def write(self, piece: Piece, rows: Rows) -> None:
        """Archive a segment. Durable when this returns. Raises ArchiveFailed."""

    def read(self, data_type: str, *, since_us: int, until_us: int) -> Iterator[Rows]:
        """Yield inputs archived from `since_us` to `until_us`, whole batches, oldest first or nearly.

        Raises ArchiveFailed.
        """
