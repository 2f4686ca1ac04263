"""What a slot's loader has to do with the snapshots that hosts share: take a newer one, bring its own."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from repertory.actors.policy_store import has_slots
from repertory.actors.sharing import Sharing
from repertory.errors import JournalError
from repertory.journal.shared_snapshots import POLICY, SharedSnapshots
from repertory.journal.snapshots import LoadResult, SnapshotStore

# How long whoever has a model of its own waits to hear whether there is a newer one.
LOOK_SECONDS = 0.5
# How long it waits for that one to come, or if it has no other, to hear whether there is any.
FETCH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Search:
    """A search that is under way in the shared store."""

    is_newer: Future[bool]
    found: Future[LoadResult]
    given_up: Future[None]

    def wait(self, *, late: Callable[[LoadResult], object], has_other: bool) -> LoadResult:
        """Return what there is, or nothing if that takes too long; what is `late` is given there.

        Whoever `has_other` waits for long only if there is a newer one.
        """
        self._wait_for(self.is_newer, LOOK_SECONDS if has_other else FETCH_SECONDS)
        if self.is_newer.done() and self.is_newer.result():
            self._wait_for(self.found, FETCH_SECONDS)
        if not self.is_newer.done() or (self.is_newer.result() and not self.found.done()):
            self.found.add_done_callback(lambda _: self._give(late))
            return LoadResult(None)
        try:
            return self.found.result(timeout=FETCH_SECONDS)  # nothing is left to be done for it
        except JournalError:
            return LoadResult(None)  # told as a trouble

    def _wait_for(self, future: Future[Any], seconds: float) -> None:
        wait((future, self.given_up), timeout=seconds, return_when=FIRST_COMPLETED)

    def _give(self, late: Callable[[LoadResult], object]) -> None:
        with suppress(JournalError):
            found = self.found.result()
            if found.snapshot is not None or found.faults:
                late(found)


class SharedCopies:
    """The copies of a slot's snapshots in the shared store."""

    def __init__(
        self, url: str, data_type: str, slot: str, *, tell: Callable[[str | None], None]
    ) -> None:
        self._data_type = data_type
        self._slot = slot
        self._sharing = Sharing(url, tell)
        self._given_up: Future[None] = Future()

    def search(self, *, after: int) -> Search:
        """Begin to load the newest copy of a position over `after`."""
        is_newer: Future[bool] = Future()

        def look(store: SharedSnapshots) -> LoadResult:
            newer = False
            try:
                newest = store.newest(self._data_type, self._slot)
                newer = newest is not None and newest.position > after
                newer = newer and not self._is_off_stage(store)
            finally:
                is_newer.set_result(newer)
            return store.load(self._data_type, self._slot, after=after) if newer else _NOTHING

        return Search(is_newer, self._sharing.ask(look), self._given_up)

    def bring(self, own: SnapshotStore, position: int) -> None:
        """Begin to bring the newest snapshot of one's own there, unless others did already."""

        def bring(store: SharedSnapshots) -> None:
            newest = store.newest(self._data_type, self._slot)
            if newest is not None and newest.position >= position:
                return
            snapshot = own.load(self._data_type).snapshot
            if snapshot is not None:
                store.save(snapshot, self._slot)

        self._sharing.keep("bring", bring)

    def give_up(self) -> None:
        """End whoever waits for a search."""
        if not self._given_up.done():
            self._given_up.set_result(None)

    def close(self) -> None:
        """End all; what is not brought yet is after a restart."""
        self.give_up()
        self._sharing.close()

    def _is_off_stage(self, store: SharedSnapshots) -> bool:
        """Return whether a policy with slots is in force: the default slot is left as it was then."""
        if self._slot:
            return False
        policy = store.load(self._data_type, POLICY).snapshot
        return policy is not None and has_slots(policy)


_NOTHING = LoadResult(None)
