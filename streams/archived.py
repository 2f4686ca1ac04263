"""What was archived of a data type: what is in the archive, and what in this node's spool waits for it."""

from collections.abc import Iterator

from repertory.actors.decoy_rows import Rows
from repertory.actors.process import NodeProcess
from repertory.streams.archive import open_archive, rows_in, spooled


class Archived:
    """The inputs of a data type that were archived in a time, both ends included (epoch).

    `missed` counts segments that came from the spool to the archive while they were read: the
    newest, of a node that serves.
    """

    def __init__(
        self, process: NodeProcess, data_type: str, *, since_us: int, until_us: int
    ) -> None:
        self._process, self._data_type = process, data_type
        self._since, self._until = since_us, until_us
        self.missed = 0

    def batches(self) -> Iterator[Rows]:
        """Yield batch by batch, oldest first or nearly. Raises ArchiveFailed."""
        process, data_type = self._process, self._data_type
        waiting = spooled(process.paths, process.node, data_type)
        archive = open_archive(process.config, process.paths)
        seen = set()
        for rows in archive.read(data_type, since_us=self._since, until_us=self._until):
            for batch in rows.by_batch():
                seen.add(batch.batch[0].partition("/")[0])
                yield batch
        for piece, path in waiting:
            if piece.name in seen:
                continue
            try:
                rows = rows_in(path, piece)
            except FileNotFoundError:
                self.missed += 1
                continue
            for batch in rows.by_batch():
                if self._since <= batch.archived_us[0] <= self._until:
                    yield batch
