"""Snapshots that hosts share: any of them may write, remove, damage and be killed at any time."""

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.registry import known_implementations
from tests.journal.conftest import CHILDREN
from tests.journal.faulty_files import FaultyFileSystem, faults

from repertory.errors import JournalError
from repertory.journal.shared_snapshots import POLICY, Name, SharedSnapshots
from repertory.journal.snapshot import Snapshot, encode, retired_snapshot


@pytest.fixture(params=["file", "path", "memory", "faulty"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where snapshots may be shared."""
    unique = uuid.uuid4().hex
    return {
        "file": f"file://{tmp_path}/snapshots",
        "path": str(tmp_path / "with space"),
        "memory": f"memory://{unique}/snapshots",
        "faulty": f"faulty://{unique}/snapshots",
    }[str(request.param)]


@pytest.fixture
def store(url: str) -> SharedSnapshots:
    """An empty store."""
    return SharedSnapshots(url)


def at(snapshot: Snapshot, position: int, /, **changes: object) -> Snapshot:
    """Return another model's snapshot at a position."""
    sha256 = f"{position:064x}"[::-1]
    changes = {"version": position, "position": position, "sha256": sha256, **changes}
    return replace(snapshot, **changes)  # type: ignore[arg-type]


def names(store: SharedSnapshots) -> list[str]:
    return list(store._files.names("wine"))


def damage(store: SharedSnapshots, path: str) -> None:
    files = store._files._files
    content = files.cat_file(path)
    files.pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))


def test_the_snapshot_of_the_highest_position_is_loaded(url: str, snapshot: Snapshot) -> None:
    for position in (5, 10**12, 9):
        SharedSnapshots(url).save(at(snapshot, position))
    result = SharedSnapshots(url).load("wine")
    assert result.snapshot == at(snapshot, 10**12)
    assert result.faults == ()


def test_the_newest_is_known_by_its_name_alone(
    url: str, store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 5))
    store.save(at(snapshot, 7, version=3))
    FaultyFileSystem.calls.clear()
    newest = SharedSnapshots(url).newest("wine")
    assert newest is not None
    assert (newest.position, newest.version) == (7, 3)
    assert not [call for call in FaultyFileSystem.calls if call[0] == "cat"]


def test_there_is_none_before_the_first(store: SharedSnapshots) -> None:
    assert store.newest("wine") is None
    assert store.load("wine").snapshot is None
    assert store.find("wine", 7, "ab" * 32).snapshot is None


def test_only_what_is_newer_than_ones_own_is_loaded(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 5))
    assert store.load("wine", after=5).snapshot is None
    assert store.load("wine", after=4).snapshot == at(snapshot, 5)


def test_slots_and_policies_do_not_meet(store: SharedSnapshots, snapshot: Snapshot) -> None:
    policy = replace(snapshot, model_type="policy", position=3, version=3, sha256="")
    store.save(at(snapshot, 1))
    store.save(at(snapshot, 2), "forest")
    store.save(policy, POLICY)
    found = [store.load("wine", slot).snapshot for slot in ("", "forest", POLICY, "other")]
    assert found == [at(snapshot, 1), at(snapshot, 2), policy, None]


def test_the_two_newest_positions_of_each_slot_are_kept(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 1), "forest")
    for position in (2, 3, 4, 5):
        store.save(at(snapshot, position))
    kept = [name for each in names(store) if (name := Name.parse(each))]
    assert [(name.position, name.slot) for name in kept] == [(1, "forest"), (4, ""), (5, "")]


def test_what_is_too_old_is_not_written(store: SharedSnapshots, snapshot: Snapshot) -> None:
    for position in (4, 5):
        store.save(at(snapshot, position))
    assert store.save(at(snapshot, 3)) is None
    assert len(names(store)) == 2


def test_what_another_host_wrote_is_not_written_again(url: str, snapshot: Snapshot) -> None:
    path = SharedSnapshots(url).save(snapshot)
    # Since when it serves differs from host to host.
    assert SharedSnapshots(url).save(replace(snapshot, since_ms=1)) == path
    assert SharedSnapshots(url).load("wine").snapshot == snapshot


def test_a_mark_that_nothing_serves_leaves_nothing_older(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 4), "forest")
    for position in (4, 5):
        store.save(at(snapshot, position))
    mark = retired_snapshot("wine", position=6, since_ms=1)
    path = store.save(mark)
    assert store.load("wine").snapshot == mark
    assert store.save(at(snapshot, 5)) is None
    damage(store, str(path))
    assert store.load("wine").snapshot is None
    assert store.load("wine", "forest").snapshot == at(snapshot, 4)


def test_a_damaged_one_is_set_aside_and_the_next_is_taken(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 4))
    path = str(store.save(at(snapshot, 5)))
    damage(store, path)
    result = store.load("wine")
    (fault,) = result.faults
    assert result.snapshot == at(snapshot, 4)
    assert (fault.path, fault.reason) == (path, "the digest does not match")
    assert str(fault.set_aside).startswith(f"{path}.corrupt-")
    assert store.load("wine").faults == ()
    store.save(at(snapshot, 5))  # who has it mends the store
    assert store.load("wine").snapshot == at(snapshot, 5)


def test_a_write_torn_at_any_byte_leaves_the_older_one(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 4))
    path, content = str(store.save(at(snapshot, 5))), b"".join(encode(at(snapshot, 5)))
    for length in range(len(content)):
        store._files._files.pipe_file(path, content[:length])
        result = store.load("wine")
        assert result.snapshot == at(snapshot, 4)
        assert len(result.faults) == 1


@pytest.mark.parametrize("length", [0, 1, 60, 400])
def test_a_write_that_breaks_off_is_never_seen(snapshot: Snapshot, length: int) -> None:
    store = SharedSnapshots(f"faulty://{uuid.uuid4().hex}")
    store.save(at(snapshot, 4))
    with faults(torn_after=length), pytest.raises(JournalError, match="the connection broke"):
        store.save(at(snapshot, 5))
    assert store.load("wine").snapshot == at(snapshot, 4)
    assert len(names(store)) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data_type": "beer"}, "it is of 'beer', not 'wine'"),
        ({"position": 4}, "position 4, not what its name says"),
        ({"version": 4}, "version 4 at position 5, not"),
        ({"sha256": "cd" * 32}, "not what its name says"),
        ({"model_type": "policy"}, "a policy in the place of a model"),
    ],
)
def test_one_in_the_place_of_another_is_refused(
    store: SharedSnapshots, snapshot: Snapshot, changes: dict[str, object], why: str
) -> None:
    path = str(store.save(at(snapshot, 5)))
    store._files._files.pipe_file(path, b"".join(encode(at(snapshot, 5, **changes))))
    result = store.load("wine")
    assert result.snapshot is None
    assert why in result.faults[0].reason


def test_one_of_another_slot_is_refused(store: SharedSnapshots, snapshot: Snapshot) -> None:
    store.save(snapshot, "tree")
    (fault,) = store.load("wine", "tree").faults
    assert fault.reason == "it is of slot 'forest', not 'tree'"


def test_a_version_is_found_in_whatever_slot_it_is(
    store: SharedSnapshots, snapshot: Snapshot
) -> None:
    store.save(at(snapshot, 9, version=7, sha256="ab" * 32), "forest")
    store.save(at(snapshot, 10))
    found = store.find("wine", 7, "ab" * 32).snapshot
    assert found is not None
    assert (found.version, found.position) == (7, 9)
    assert store.find("wine", 8, "ab" * 32).snapshot is None
    assert store.find("wine", 7, "cd" * 32).snapshot is None
    like = store.find("wine", 7, "ab" * 31 + "cd")  # the name has only the beginning of the digest
    assert like.snapshot is None


def test_foreign_files_are_left_alone(store: SharedSnapshots, snapshot: Snapshot) -> None:
    store._files.write("wine", "notes.txt", [b"keep me"])
    for position in range(1, 5):
        store.save(at(snapshot, position))
    assert store._files.read("wine/notes.txt") == b"keep me"
    assert store.load("wine").faults == ()


@pytest.mark.parametrize("name", ["", "..", "../wine", "a/b", ".wine", "wine\n", "a\0b"])
def test_a_name_that_leaves_the_folder_is_refused(
    store: SharedSnapshots, snapshot: Snapshot, name: str
) -> None:
    with pytest.raises(JournalError, match="is no name of a data type"):
        store.save(replace(snapshot, data_type=name))
    with pytest.raises(JournalError, match="is no name of a data type"):
        store.load(name)


def test_names_are_in_the_order_of_positions(store: SharedSnapshots, snapshot: Snapshot) -> None:
    positions = [1, 9, 10, 2**32, 2**63 - 1]
    texts = [str(Name(position, 1, "0" * 16, "forest")) for position in positions]
    assert texts == sorted(texts)
    assert [name.position for text in texts if (name := Name.parse(text))] == positions


def test_what_others_remove_meanwhile_is_not_missed(
    store: SharedSnapshots, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(at(snapshot, 1))
    read = store._files.read

    def overtaken(name: str) -> bytes:
        monkeypatch.setattr(store._files, "read", read)
        for position in (2, 3):  # another host: the one that was listed goes
            store.save(at(snapshot, position))
        return read(name)

    monkeypatch.setattr(store._files, "read", overtaken)
    result = store.load("wine")
    assert (result.snapshot, result.faults) == (at(snapshot, 3), ())


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), ValueError("no login")])
def test_a_store_that_is_down_is_one_kind_of_error(error: Exception, snapshot: Snapshot) -> None:
    store = SharedSnapshots(f"faulty://{uuid.uuid4().hex}")
    for ask in (store.load, store.newest):
        with faults(down=error), pytest.raises(JournalError, match=r"refused|no login"):
            ask("wine")
    with faults(down=error), pytest.raises(JournalError, match=r"refused|no login"):
        store.save(snapshot)


def test_a_protocol_that_needs_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_implementations, "shelf", {"class": "shelffs.Shelf", "err": "no"})
    with pytest.raises(JournalError, match=r"^shelf://x: shelf:// .*: pip install shelffs$"):
        SharedSnapshots("shelf://x")


def test_an_unknown_protocol_is_told_and_no_password() -> None:
    with pytest.raises(JournalError, match=r"^shelf://host/x: Protocol not known: shelf$"):
        SharedSnapshots("shelf://anna:secret@host/x")


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, snapshot: Snapshot) -> None:
    (tmp_path / "file").write_text("no folder")
    store = SharedSnapshots(f"file://{tmp_path}/file")
    with pytest.raises(JournalError, match="Not a directory"):
        store.save(snapshot)


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_while_sharing_leaves_a_whole_one(
    tmp_path: Path, kill_child: Callable[..., int], seed: int
) -> None:
    after_lines = random.Random(seed).randint(1, 40)
    saved = kill_child("share_forever", f"file://{tmp_path}", after_lines=after_lines)
    result = SharedSnapshots(f"file://{tmp_path}").load("wine")
    assert result.snapshot is not None
    assert result.faults == ()
    assert result.snapshot.version in (saved, saved + 1)  # the next one may just have been done


def test_what_a_dead_process_left_is_swept_up_when_it_is_old(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    (tmp_path / "wine").mkdir()
    young, old = (tmp_path / "wine" / f".{digit * 16}.unfinished" for digit in "ab")
    for path in (young, old):
        path.write_bytes(b"half a model")
    os.utime(old, (1, 1))
    SharedSnapshots(f"file://{tmp_path}").save(snapshot)
    assert (young.exists(), old.exists()) == (True, False)


def test_two_processes_that_write_the_same_at_once_leave_whole_ones(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    command = [sys.executable, str(CHILDREN / "share_forever.py"), url, "150"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    store, seen = SharedSnapshots(url), [0]
    while any(writer.poll() is None for writer in writers):
        result = store.load("wine")
        assert result.faults == ()
        if result.snapshot is not None:
            assert result.snapshot.files["model.onnx"][0] == result.snapshot.version % 256
            seen.append(result.snapshot.position)
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0]
    assert seen == sorted(seen)
    assert [name.position for each in names(store) if (name := Name.parse(each))] == [149, 150]
