"""What keeps a log from growing for ever: retention and compaction.

Retention drops whole segments that are too old or too many. Compaction keeps of each key only the
last record, in all segments but the active one and those with an open transaction. Offsets stay
as they were, with gaps. A record without a value, a tombstone, goes too, `delete.retention.ms`
after the cleaner first met it: the time is kept in its batch, as Apache Kafka does (KIP-534).

What the standard library cannot unpack (snappy, lz4, zstd) stays as it is. As nobody knows which
keys are in there, tombstones that follow such a batch stay as well: else what they deleted would
be back.

Compaction reads closed segments, which no one changes, by their names, and writes new files beside
them, so `compact` can run in a thread; only `Compaction.install` touches the partition.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from repertory.streams.devbroker.batch import BatchHeader
from repertory.streams.devbroker.partition import CLEANED, Partition
from repertory.streams.devbroker.producers import AbortedTransaction
from repertory.streams.devbroker.records import Record, read_records, readable, rebuild
from repertory.streams.devbroker.segment import Segment, file_batches, sync_folder


def retain(partition: Partition) -> None:
    """Drop the segments that the topic's retention does not cover."""
    config = partition.config
    if not config.deletes:
        return
    now_ms = partition.clock() * 1000
    active = partition.active
    age_ms = now_ms - active.born * 1000
    if (
        active.size
        and active.max_timestamp < now_ms - config.retention_ms
        and age_ms > min(config.segment_ms, config.retention_ms)
    ):
        partition.roll()
    total = sum(segment.size for segment in partition.segments)
    while len(partition.segments) > 1:
        oldest, after = partition.segments[:2]
        too_old = oldest.max_timestamp < now_ms - config.retention_ms
        if after.base > partition.stable_end:
            return  # a transaction is open in there
        if not too_old and total - oldest.size < config.retention_bytes:
            return
        total -= oldest.size
        partition.delete_before(after.base)


@dataclass
class Compaction:
    """One run over the closed segments of a partition: planned, worked through, installed."""

    partition: Partition
    segments: list[Segment]
    now_ms: int
    delete_retention_ms: int
    segment_bytes: int
    aborted: list[AbortedTransaction]
    kept_batches: set[int]
    """Base offsets of batches whose header stays, even without records, for its producer."""
    groups: list[tuple[Path, list[Segment]]] = field(default_factory=list)
    """New files, and the segments that each replaces."""

    def install(self) -> None:
        """Put the new files in place of the old ones; nothing if the log changed meanwhile."""
        current = self.partition.segments
        if current[: len(self.segments)] != self.segments:
            for path, _ in self.groups:
                path.unlink(missing_ok=True)
            return
        merged: list[Segment] = []
        for path, replaced in self.groups:
            # From here on the first name holds all of the group; the other files are leftovers,
            # deleted lowest first, so that a tombstone never goes before what it deletes.
            os.replace(path, replaced[0].path)
            for segment in replaced[1:]:
                segment.path.unlink()
            for segment in replaced:
                segment.close()
            segment = Segment(replaced[0].path, durable=self.partition.durable)
            for _ in segment.load():
                pass
            merged.append(segment)
        sync_folder(self.partition.folder)
        self.partition.cleaned_to = self.segments[-1].last + 1
        current[: len(self.segments)] = merged


def plan(partition: Partition) -> Compaction | None:
    """Return the compaction that is due, or None. Rolls an active segment that is old enough."""
    config = partition.config
    if not config.compacts:
        return None
    now_ms = int(partition.clock() * 1000)
    active = partition.active
    if active.size and now_ms - active.born * 1000 > min(config.segment_ms, config.max_lag_ms):
        partition.roll()
    segments: list[Segment] = []
    for segment in partition.segments[:-1]:
        if segment.last >= partition.stable_end:
            break
        if segment.max_timestamp > now_ms - config.min_lag_ms:
            break
        segments.append(segment)
    if not segments or not _due(partition, segments, now_ms):
        return None
    return Compaction(
        partition=partition,
        segments=segments,
        now_ms=now_ms,
        delete_retention_ms=config.delete_retention_ms,
        segment_bytes=config.segment_bytes,
        aborted=partition.aborted(segments[0].base, segments[-1].last),
        kept_batches=partition.producers.last_offsets(),
    )


def _due(partition: Partition, segments: list[Segment], now_ms: int) -> bool:
    expired = any(segment.horizon is not None and segment.horizon <= now_ms for segment in segments)
    if expired and not any(segment.unreadable for segment in segments):
        return True
    dirty = [segment for segment in segments if segment.last >= partition.cleaned_to]
    size = sum(segment.size for segment in dirty)
    if not size:
        return False
    if any(now_ms - segment.born * 1000 > partition.config.max_lag_ms for segment in dirty):
        return True
    total = sum(segment.size for segment in segments)
    return size / total > partition.config.dirty_ratio


def compact(compaction: Compaction) -> None:
    """Write the new files of a planned compaction. Changes nothing that the partition uses.

    Raises OSError, also when the log was removed meanwhile; the compaction is then thrown away.
    """
    work = _Work(compaction)
    for group in _groups(compaction):
        path = group[0].path.with_suffix(CLEANED)
        with path.open("wb") as file:
            for segment in group:
                for header, batch in file_batches(segment.path):
                    file.write(work.cleaned(header, batch))
            file.flush()
            os.fsync(file.fileno())
        compaction.groups.append((path, group))


def _groups(compaction: Compaction) -> Iterator[list[Segment]]:
    """Yield neighbours that fit into one segment together."""
    group: list[Segment] = []
    for segment in compaction.segments:
        size = sum(member.size for member in group)
        if group and size + segment.size > compaction.segment_bytes:
            yield group
            group = []
        group.append(segment)
    yield group


class _Work:
    """Decides which records of which batch stay."""

    def __init__(self, compaction: Compaction) -> None:
        self._compaction = compaction
        self._last: dict[bytes, int] = {}
        self._met_unreadable = False
        for segment in compaction.segments:
            for header, batch in file_batches(segment.path):
                if self._opaque(header) or self._aborted(header):
                    continue
                for record in read_records(header, batch):
                    if record.key is not None:
                        self._last[record.key] = record.offset

    def cleaned(self, header: BatchHeader, batch: bytes) -> bytes:
        """Return what stays of a batch, called in the order of the log; empty if nothing does."""
        if self._opaque(header):
            self._met_unreadable = self._met_unreadable or not readable(header)
            return batch
        records = [] if self._aborted(header) else list(read_records(header, batch))
        kept = [record for record in records if self._keeps(header, record)]
        if not kept and header.base_offset not in self._compaction.kept_batches:
            return b""
        tombstones = any(record.tombstone for record in kept)
        if tombstones and header.delete_horizon is None:
            horizon = self._compaction.now_ms + self._compaction.delete_retention_ms
            return rebuild(header.with_horizon(horizon), kept)
        if not tombstones and header.delete_horizon is not None:
            base = kept[0].timestamp if kept else header.max_timestamp
            return rebuild(header.without_horizon(base), kept)
        return batch if len(kept) == header.records else rebuild(header, kept)

    def _keeps(self, header: BatchHeader, record: Record) -> bool:
        if record.key is None:
            return True  # written before the topic was compacted
        if self._last.get(record.key) != record.offset:
            return False
        horizon = header.delete_horizon
        expired = horizon is not None and horizon <= self._compaction.now_ms
        return not (record.tombstone and expired) or self._met_unreadable

    def _opaque(self, header: BatchHeader) -> bool:
        return header.control or not readable(header)

    def _aborted(self, header: BatchHeader) -> bool:
        return header.transactional and any(
            transaction.producer_id == header.producer_id
            and transaction.first_offset <= header.base_offset < transaction.last_offset
            for transaction in self._compaction.aborted
        )
