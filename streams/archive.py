"""The archiver of a node: `python -m repertory.streams.archive --config FILE --node NAME`.

It takes sealed segments from the spools of decoys, the oldest first, writes each to the archive,
and removes it then: whatever is killed when, nothing is lost, and a segment may be written twice.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from repertory.actors.client import RouterClient
from repertory.actors.decoy_rows import Rows, rows_of
from repertory.actors.decoy_segment import (
    OPEN,
    SEALED,
    is_whole,
    read_segment,
    seal_orphans,
    segments,
)
from repertory.actors.process import NodeProcess, run_process
from repertory.actors.troubles import Troubles
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ProtocolError
from repertory.streams.archive_files import FileArchive
from repertory.streams.archive_place import Archive, ArchiveFailed, Piece
from repertory.streams.archive_topic import TopicArchive

LOOK_SECONDS = 1.0
DAMAGED = ".damaged"

log = structlog.get_logger(__name__)


def open_archive(config: ClusterConfig, paths: NodePaths) -> Archive:
    """Return the archive that the configuration names. Raises ArchiveFailed."""
    if config.decoy.topic is not None:
        return TopicArchive(config.kafka, config.decoy.topic)
    return FileArchive(config.decoy.url or str(paths.archive))


def rows_in(path: Path, piece: Piece) -> Rows:
    """Return what a segment holds. Raises OSError. A batch that cannot be understood is told."""
    rows = Rows()
    for number, batch in enumerate(read_segment(path)):
        name = f"{piece.name}/{number}"
        try:
            rows.extend(rows_of(batch, name))
        except (ProtocolError, DecodeError) as error:
            log.error("an archived batch cannot be understood", batch=name, why=str(error))
    return rows


def spooled(paths: NodePaths, node: str, data_type: str) -> list[tuple[Piece, Path]]:
    """Return what of a data type waits for the archive, the oldest first."""
    return [
        (Piece(int(path.stem), node, data_type), path)
        for path in segments(paths.decoy / data_type, OPEN, SEALED)
    ]


class Archiver:
    """Moves what is in the spools to the archive."""

    def __init__(self, config: ClusterConfig, paths: NodePaths, node: str) -> None:
        self._config, self._paths, self._node = config, paths, node
        self._archive: Archive | None = None
        self.segments = self.records = 0  # archived so far

    def round(self) -> str | None:
        """Archive all that is sealed. Return why not all is, or None. Blocks; never raises."""
        try:
            for folder in sorted(each for each in self._paths.decoy.iterdir() if each.is_dir()):
                seal_orphans(folder)
                for path in segments(folder):
                    self._move(path, Piece(int(path.stem), self._node, folder.name))
        except FileNotFoundError:
            return None  # nothing was ever archived
        except ArchiveFailed as error:
            self._archive = None
            return str(error)
        except OSError as error:
            return f"{error.filename or self._paths.decoy}: {error.strerror}"
        return None

    def _move(self, path: Path, piece: Piece) -> None:
        """1. Write. 2. Remove; a segment that is not whole is kept aside, to be looked at."""
        if self._archive is None:
            self._archive = open_archive(self._config, self._paths)
        rows = rows_in(path, piece)
        if len(rows):
            self._archive.write(piece, rows)
        if is_whole(path):
            path.unlink()
        else:
            log.error("a segment is damaged; what could be read is archived", path=str(path))
            path.rename(path.with_suffix(DAMAGED))
        self.segments, self.records = self.segments + 1, self.records + len(rows)


async def run_archiver(process: NodeProcess, stop: asyncio.Event) -> None:
    """Archive until `stop` is set. What is not archived by then is when this runs again."""
    archiver = Archiver(process.config, process.paths, process.node)
    client, troubles = RouterClient(process.paths.router_door, role="archive"), Troubles()

    def report() -> dict[str, Any]:
        return {"segments": archiver.segments, "records": archiver.records}

    async with client:
        # The node serves, whatever becomes of the archive.
        telling = asyncio.create_task(troubles.tell(client, report, as_warnings=True))
        working = asyncio.create_task(_work(archiver, troubles))
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait(
            (telling, working, stopping), return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()
    # A thread that waits for a file system or for brokers would keep an orderly end waiting.
    sys.stderr.flush()
    os._exit(0)


async def _work(archiver: Archiver, troubles: Troubles) -> None:
    while True:
        troubles.note("the archive", await asyncio.to_thread(archiver.round))
        await asyncio.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    run_process("archive", run_archiver)
