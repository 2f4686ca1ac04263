"""Snapshots that all hosts share: a folder for each data type, at any fsspec URL.

    wine/0000000000000000042-0000000000000000040-5d41402abc4b2a76-forest.snapshot
         journal position    version             SHA-256         slot

The names tell all that is needed to choose; only what is chosen is read. No model's name begins
with a dot, so policies are in a slot of their own, `.policy`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from repertory.errors import JournalError, SnapshotCorrupt
from repertory.journal.clock import epoch_ms
from repertory.journal.shared_files import SharedFiles
from repertory.journal.snapshot import Snapshot, decode, encode
from repertory.journal.snapshots import Fault, LoadResult

KEEP = 2  # positions of a slot: the newest, and one to fall back to
POLICY = ".policy"

_POLICY_TYPE = "policy"  # the model type of a snapshot that is a policy
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME = re.compile(
    r"(?P<position>[0-9]{19})-(?P<version>[0-9]{19})-(?P<digest>[0-9a-f]{16})"
    r"(?:-(?P<slot>\.?[A-Za-z0-9][A-Za-z0-9._-]{0,62}))?\.snapshot"
)
_SET_ASIDE = re.compile(rf"{_NAME.pattern}\.corrupt-[0-9]+")
# What was listed may be removed by others, who have newer ones, before it is read.
_LISTINGS = 3


class Name(NamedTuple):
    """What the name of a shared snapshot says."""

    position: int
    version: int  # 0: nothing is on stage
    digest: str
    slot: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what a name says; None when it is not one of a snapshot."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(
            int(found["position"]), int(found["version"]), found["digest"], found["slot"] or ""
        )

    def __str__(self) -> str:
        slot = f"-{self.slot}" if self.slot else ""
        return f"{self.position:019d}-{self.version:019d}-{self.digest}{slot}.snapshot"


class SharedSnapshots:
    """The snapshots at a URL that all hosts of a cluster share, and nobody else.

    Several may save, load and remove at the same time, the same ones, too. Every call blocks for
    as long as the file system likes, and raises JournalError when it cannot do its work.
    """

    def __init__(self, url: str) -> None:
        self._files = SharedFiles(url)

    def newest(self, data_type: str, slot: str = "") -> Name | None:
        """Return what the newest snapshot of a slot is; nothing is read but names."""
        return max(self._names(data_type, slot), default=None)

    def save(self, snapshot: Snapshot, slot: str = "") -> str | None:
        """Put a snapshot there, whole, and return its path; None: there are newer ones.

        What another host put there already is not written again. The newest positions stay; if
        nothing is on stage any more, nothing older stays.
        """
        name = _name_of(snapshot, slot)
        kept = _kept(self._names(snapshot.data_type, slot))
        if _is_outdated(name, kept):
            return None
        if name in kept:
            return self._files.path(f"{snapshot.data_type}/{name}")
        path = self._files.write(snapshot.data_type, str(name), encode(snapshot))
        self._prune(snapshot.data_type, slot)
        return path

    def load(self, data_type: str, slot: str = "", *, after: int = 0) -> LoadResult:
        """Return the newest snapshot of a slot that is whole and has a position over `after`.

        Those found corrupt on the way are renamed to `….corrupt-<ms>`.
        """
        return self._load(
            data_type, lambda name: name.slot == slot and name.position > after, _nothing
        )

    def find(self, data_type: str, version: int, sha256: str) -> LoadResult:
        """Return a snapshot of this version of a model, in whatever slot it is on stage."""

        def check(snapshot: Snapshot) -> None:
            if snapshot.sha256 != sha256:
                raise SnapshotCorrupt("it is of another model")

        return self._load(
            data_type,
            lambda name: (name.version, name.digest) == (version, sha256[:16]),
            check,
        )

    def _load(
        self,
        data_type: str,
        wanted: Callable[[Name], bool],
        check: Callable[[Snapshot], None],
    ) -> LoadResult:
        faults: list[Fault] = []
        for _ in range(_LISTINGS):
            vanished = False
            for name in sorted(filter(wanted, self._names(data_type)), reverse=True):
                try:
                    found = self._read(data_type, name, check)
                except FileNotFoundError:
                    vanished = True
                    continue
                if isinstance(found, Snapshot):
                    return LoadResult(found, tuple(faults))
                faults.append(found)
            if not vanished:
                break
        return LoadResult(None, tuple(faults))

    def _read(
        self, data_type: str, name: Name, check: Callable[[Snapshot], None]
    ) -> Snapshot | Fault:
        file = f"{data_type}/{name}"
        path = self._files.path(file)
        try:
            snapshot = decode(self._files.read(file))
            _check(snapshot, data_type, name)
            check(snapshot)
        except SnapshotCorrupt as error:
            return Fault(path, str(error), self._set_aside(file))
        except JournalError as error:  # of a newer Repertory, or it cannot be read
            return Fault(path, str(error), None)
        return snapshot

    def _set_aside(self, file: str) -> str | None:
        aside = f"{file}.corrupt-{epoch_ms()}"
        try:
            self._files.move(file, aside)
        except JournalError:
            return None  # another host was faster, or it is found corrupt again
        return self._files.path(aside)

    def _names(self, data_type: str, slot: str | None = None) -> Sequence[Name]:
        if not _SAFE.fullmatch(data_type):
            raise JournalError(f"{data_type!r} is no name of a data type")
        names = map(Name.parse, self._files.names(data_type))
        return [name for name in names if name is not None and slot in (None, name.slot)]

    def _prune(self, data_type: str, slot: str) -> None:
        texts = self._files.names(data_type)
        names = [name for text in texts if (name := Name.parse(text)) and name.slot == slot]
        for name in set(names) - set(_kept(names)):
            self._files.remove(f"{data_type}/{name}")
        aside = [text for text in texts if _SET_ASIDE.fullmatch(text)]
        for text in aside[:-KEEP]:
            self._files.remove(f"{data_type}/{text}")
        self._files.sweep(data_type, texts)


def _name_of(snapshot: Snapshot, slot: str) -> Name:
    if slot and slot != POLICY and not _SAFE.fullmatch(slot):
        raise JournalError(f"{slot!r} is no name of a slot")
    digest = snapshot.sha256[:16].ljust(16, "0")
    return Name(snapshot.position, snapshot.version, digest, slot)


def _is_retired(name: Name) -> bool:
    return name.version == 0


def _kept(names: Iterable[Name]) -> Sequence[Name]:
    """Return, of the names of one slot, those that are not too old."""
    names = sorted(names, reverse=True)
    if not names:
        return []
    count = 1 if _is_retired(names[0]) else KEEP
    positions = sorted({name.position for name in names}, reverse=True)[:count]
    return [name for name in names if name.position in positions]


def _is_outdated(name: Name, kept: Sequence[Name]) -> bool:
    """Return whether a snapshot would be removed at once."""
    return name not in _kept([name, *kept])


def _check(snapshot: Snapshot, data_type: str, name: Name) -> None:
    """Raise SnapshotCorrupt when a snapshot is not the one that its place says."""
    if snapshot.data_type != data_type:
        raise SnapshotCorrupt(f"it is of {snapshot.data_type!r}, not {data_type!r}")
    is_policy = name.slot == POLICY
    if not snapshot.retired:
        if (snapshot.model_type == _POLICY_TYPE) != is_policy:
            raise SnapshotCorrupt("it is a policy in the place of a model, or the other way round")
        if name.slot not in ("", POLICY, snapshot.name):
            raise SnapshotCorrupt(f"it is of slot {snapshot.name!r}, not {name.slot!r}")
    if _name_of(snapshot, name.slot) != name:
        raise SnapshotCorrupt(
            f"it is version {snapshot.version} at position {snapshot.position}, not what its name says"
        )


def _nothing(snapshot: Snapshot) -> None:
    """Accept a snapshot as it is."""
