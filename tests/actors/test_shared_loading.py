"""The loader takes newer snapshots that hosts share, and brings its own; nobody waits for the store."""

import select
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.journal.faulty_files import FaultyFileSystem, faults

from repertory.actors import shared_copies
from repertory.actors.loading import Cleared, Loaded, Loader, Restored, Result, SharedFaults
from repertory.actors.messages import ClearStage, SetPolicy, StageModel
from repertory.actors.policy_store import PolicyStore
from repertory.journal.shared_snapshots import POLICY, Name, SharedSnapshots
from repertory.journal.snapshot import Snapshot, decode
from repertory.journal.snapshots import SnapshotStore

Stager = Callable[[int], StageModel]
DOWN = ConnectionRefusedError(111, "Connection refused")


@pytest.fixture
def url() -> str:
    """A store for this test alone."""
    return f"faulty://{uuid.uuid4().hex}/snapshots"


@contextmanager
def loader_of(node: Path, url: str, slot: str = "") -> Iterator[Loader]:
    """Make the loader of a node, and close it at the end."""
    made = Loader("wine", node / "snapshots", slot=slot, shared=url)
    try:
        yield made
    finally:
        made.close()


def results(loader: Loader, until: type[Result] = Restored, seconds: float = 20) -> list[Result]:
    """Return the next results up to one of a kind."""
    found: list[Result] = []
    end = time.monotonic() + seconds
    while not any(isinstance(each, until) for each in found):
        assert time.monotonic() < end, found
        select.select([loader.fileno()], [], [], 0.2)
        found += loader.results()
    return found


def restored(node: Path, url: str, slot: str = "") -> list[Result]:
    """Return what the loader of a node that comes up gives."""
    with loader_of(node, url, slot) as loader:
        loader.restore()
        found = results(loader)
    for each in found:
        if isinstance(each, Loaded):
            each.model.close()
    return found


def served(node: Path, url: str, update: StageModel) -> None:
    """Have a node serve a version, until its snapshot is where it belongs."""
    with loader_of(node, url) as loader:
        loader.save(update, 77)
        loader._jobs.put("restore")  # done after the save
        for each in results(loader):
            if isinstance(each, Loaded):
                each.model.close()
        wait_for(lambda: position(url) == update.position)


def position(url: str, slot: str = "") -> int | None:
    newest = SharedSnapshots(url).newest("wine", slot)
    return newest and newest.position


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def versions(found: list[Result]) -> list[int]:
    return [each.update.version for each in found if isinstance(each, Loaded)]


def test_a_node_with_an_empty_disk_serves_what_another_one_shared(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    served(tmp_path / "a", url, stager(5))
    loaded, end = restored(tmp_path / "b", url)
    assert isinstance(loaded, Loaded)
    assert (loaded.update.version, loaded.update.position, loaded.since_ms) == (5, 5, 77)
    assert end == Restored()
    assert SnapshotStore(tmp_path / "b" / "snapshots").load("wine").snapshot is not None


@pytest.mark.parametrize(("own", "shared", "taken"), [(5, 6, 6), (6, 5, 6), (5, 5, 5)])
def test_the_newer_one_is_taken(
    tmp_path: Path, url: str, stager: Stager, own: int, shared: int, taken: int
) -> None:
    served(tmp_path / "a", url, stager(shared))
    served(tmp_path / "b", f"memory://{uuid.uuid4().hex}", stager(own))
    assert versions(restored(tmp_path / "b", url)) == [taken]
    snapshot = SnapshotStore(tmp_path / "b" / "snapshots").load("wine").snapshot
    assert snapshot is not None
    assert snapshot.version == taken


def test_one_that_the_store_lacks_is_brought_after_a_restart(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    with faults(down=DOWN), loader_of(tmp_path / "a", url) as loader:
        loader.save(stager(5), 77)
        results(loader, SharedFaults)
    assert position(url) is None
    with loader_of(tmp_path / "a", url) as loader:
        loader.restore()
        wait_for(lambda: position(url) == 5)


def test_a_retirement_is_shared(tmp_path: Path, url: str, stager: Stager) -> None:
    served(tmp_path / "a", url, stager(5))
    with loader_of(tmp_path / "a", url) as loader:
        loader.clear(ClearStage("wine", 6, 99))
        wait_for(lambda: position(url) == 6)
    assert restored(tmp_path / "b", url) == [Cleared(ClearStage("wine", 6, 99)), Restored()]
    assert len(SharedSnapshots(url)._files.names("wine")) == 1


def test_a_slot_has_snapshots_of_its_own(tmp_path: Path, url: str, stager: Stager) -> None:
    with loader_of(tmp_path / "a", url, "sum-5") as loader:
        loader.save(stager(5), 77)
        wait_for(lambda: position(url, "sum-5") == 5)
    assert restored(tmp_path / "b", url) == [Restored()]
    assert versions(restored(tmp_path / "b", url, "sum-5")) == [5]


def test_a_corrupt_one_is_told_and_the_next_is_taken(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    served(tmp_path / "a", url, stager(5))
    served(tmp_path / "a", url, stager(6))
    store = SharedSnapshots(url)
    path = store._files.path(f"wine/{store.newest('wine')}")
    store._files._files.pipe_file(path, store._files._files.cat_file(path)[:-1])
    found = restored(tmp_path / "b", url)
    assert versions(found) == [5]
    assert isinstance(found[-1], Restored)
    assert path in found[-1].faults[0]


def test_one_that_does_not_open_is_told_and_ones_own_is_taken(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    served(tmp_path / "b", f"memory://{uuid.uuid4().hex}", stager(5))
    broken = Snapshot("wine", "m", "", "ONNX", 6, "ab" * 32, 6, 1, {"content": b"garbage"})
    SharedSnapshots(url).save(broken)
    found = restored(tmp_path / "b", url)
    assert versions(found) == [5]
    assert isinstance(found[-1], Restored)
    assert "the snapshot of version 6" in found[-1].faults[0]


def test_a_store_that_is_down_is_told_once_and_when_it_is_back(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    with loader_of(tmp_path / "a", url) as loader:
        with faults(down=DOWN):
            loader.save(stager(5), 77)
            (told,) = results(loader, SharedFaults)
            assert isinstance(told, SharedFaults)
            assert "Connection refused" in told.faults[0]
            calls = len(FaultyFileSystem.calls)
            wait_for(lambda: len(FaultyFileSystem.calls) > calls)  # it is tried again
        assert results(loader, SharedFaults) == [SharedFaults(())]
        wait_for(lambda: position(url) == 5)


def test_a_store_that_hangs_holds_up_neither_a_restart_nor_the_next_model(
    tmp_path: Path, url: str, stager: Stager
) -> None:
    served(tmp_path / "a", url, stager(5))
    release = threading.Event()
    began = time.monotonic()
    with faults(hang=release), loader_of(tmp_path / "a", url) as loader:
        loader.restore()
        assert versions(results(loader)) == [5]
        loader.load(stager(6))
        assert versions(results(loader, Loaded)) == [6]
        assert time.monotonic() - began < shared_copies.LOOK_SECONDS + 2
        release.set()


def test_what_comes_late_is_still_taken(
    tmp_path: Path, url: str, stager: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_copies, "LOOK_SECONDS", 0.05)
    served(tmp_path / "a", url, stager(6))
    served(tmp_path / "b", f"memory://{uuid.uuid4().hex}", stager(5))
    release = threading.Event()
    with faults(hang=release), loader_of(tmp_path / "b", url) as loader:
        loader.restore()
        assert versions(results(loader)) == [5]
        release.set()
        assert versions(results(loader, Loaded)) == [6]


def test_the_end_of_a_loader_does_not_wait_for_a_store_that_hangs(tmp_path: Path, url: str) -> None:
    release = threading.Event()
    with faults(hang=release):
        loader = Loader("wine", tmp_path / "snapshots", shared=url)
        loader.restore()
        began = time.monotonic()
        loader.close()
        assert time.monotonic() - began < 3
        release.set()


def test_a_store_of_an_unknown_kind_is_told_and_stops_nothing(
    tmp_path: Path, stager: Stager
) -> None:
    with loader_of(tmp_path / "a", "shelf://x") as loader:
        loader.save(stager(5), 77)
        (told,) = results(loader, SharedFaults)
        assert told == SharedFaults(("shared snapshots: shelf://x: Protocol not known: shelf",))
        loader.load(stager(6))
        assert versions(results(loader, Loaded)) == [6]


# --- policies

SETTINGS = '{"policy": "majority", "slots": ["one", "two"]}'


def wait_for_policy(url: str, at: int) -> None:
    wait_for(lambda: position(url, POLICY) == at)


def test_a_node_that_was_never_there_has_the_policies_of_the_others(
    tmp_path: Path, url: str
) -> None:
    policy = SetPolicy("wine", 7, SETTINGS, 99)
    PolicyStore(tmp_path / "a", shared=url).save(policy)
    wait_for_policy(url, 7)
    assert list(PolicyStore(tmp_path / "b", shared=url).load(["beer", "wine"])) == [policy]
    assert list(PolicyStore(tmp_path / "b").load(["wine"])) == [policy]


def test_a_removed_policy_is_removed_where_it_was_not_known(tmp_path: Path, url: str) -> None:
    stores = [PolicyStore(tmp_path / name, shared=url) for name in "ab"]
    stores[1].save(SetPolicy("wine", 7, SETTINGS, 99))
    wait_for_policy(url, 7)
    stores[0].save(SetPolicy("wine", 8, "", 100))
    wait_for_policy(url, 8)
    assert list(PolicyStore(tmp_path / "b", shared=url).load(["wine"])) == []


def test_policies_of_ones_own_are_there_when_the_store_is_down(tmp_path: Path, url: str) -> None:
    policy = SetPolicy("wine", 7, SETTINGS, 99)
    with faults(down=DOWN):
        PolicyStore(tmp_path / "a", shared=url).save(policy)
        assert list(PolicyStore(tmp_path / "a", shared=url).load(["wine"])) == [policy]


@pytest.mark.parametrize(
    ("settings", "taken"), [(SETTINGS, []), ('{"policy": "latest"}', [5]), ("", [5])]
)
def test_while_a_policy_has_slots_nobody_takes_what_the_default_slot_had(
    tmp_path: Path, url: str, stager: Stager, settings: str, taken: list[int]
) -> None:
    served(tmp_path / "a", url, stager(5))
    PolicyStore(tmp_path / "a", shared=url).save(SetPolicy("wine", 7, settings, 99))
    wait_for_policy(url, 7)
    assert versions(restored(tmp_path / "b", url)) == taken


def test_what_is_shared_says_what_it_is(tmp_path: Path, url: str, stager: Stager) -> None:
    served(tmp_path / "a", url, stager(5))
    store = SharedSnapshots(url)
    [text] = store._files.names("wine")
    name, snapshot = Name.parse(text), decode(store._files.read(f"wine/{text}"))
    assert name is not None
    assert (name.position, name.version, name.slot) == (5, 5, "")
    assert (snapshot.position, snapshot.name) == (5, "sum-5")
