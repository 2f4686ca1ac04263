"""The folder of snapshots: crashes, damage, and what is left behind."""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.errors import JournalError
from repertory.journal.snapshot import Snapshot, encode
from repertory.journal.snapshots import SnapshotStore


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    """An empty store, in the folder of the test."""
    return SnapshotStore(tmp_path)


def flip(path: str) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where snapshots may be kept."""
    unique = uuid.uuid4().hex
    return {
        "path": str(tmp_path / "with space"),
        "file": f"file://{tmp_path}/snapshots",
        "memory": f"memory://{unique}",
    }[str(request.param)]


def test_the_snapshot_saved_last_is_loaded(url: str, snapshot: Snapshot) -> None:
    store = SnapshotStore(url)
    for version in (5, 6, 3):
        store.save(replace(snapshot, version=version))
    result = SnapshotStore(url).load("wine")
    assert result.snapshot == replace(snapshot, version=3)
    assert result.faults == ()


def test_there_is_none_before_the_first(url: str) -> None:
    assert SnapshotStore(url).load("wine").snapshot is None


def test_damage_is_reported_set_aside_and_the_older_one_used(url: str, snapshot: Snapshot) -> None:
    store = SnapshotStore(url)
    store.save(snapshot)
    path = store.save(replace(snapshot, version=8))
    content = store._files.cat_file(path)
    store._files.pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))
    result = store.load("wine")
    (fault,) = result.faults
    assert result.snapshot == snapshot
    assert (fault.path, fault.reason) == (path, "the digest does not match")
    assert fault.set_aside is not None
    assert fault.set_aside.startswith(f"{path}.corrupt-")
    assert store._files.exists(fault.set_aside)
    assert store.load("wine").faults == ()


def test_without_a_sound_one_there_is_none(store: SnapshotStore, snapshot: Snapshot) -> None:
    for path in (store.save(snapshot), store.save(snapshot)):
        flip(path)
    result = store.load("wine")
    assert result.snapshot is None
    assert len(result.faults) == 2


def test_the_two_newest_are_kept(store: SnapshotStore, snapshot: Snapshot) -> None:
    paths = [store.save(replace(snapshot, version=version)) for version in range(5)]
    assert [Path(path).exists() for path in paths] == [False, False, False, True, True]


def test_of_those_set_aside_two_are_kept(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    for _ in range(5):
        flip(store.save(snapshot))
        store.load("wine")
    store.save(snapshot)
    assert len(list((tmp_path / "wine").glob("*.corrupt-*"))) == 2
    assert store.load("wine").snapshot == snapshot


def test_data_types_do_not_meet(store: SnapshotStore, snapshot: Snapshot) -> None:
    names = ["wine", "wine-2", "wine.2", "Wine", "0"]
    for name in names:
        store.save(replace(snapshot, data_type=name))
    loaded = [store.load(name).snapshot for name in names]
    assert [found and found.data_type for found in loaded] == names


@pytest.mark.parametrize("name", ["", "..", "../wine", "a/b", ".wine", "wine\n", "a\0b"])
def test_a_name_that_leaves_the_folder_is_refused(
    store: SnapshotStore, snapshot: Snapshot, name: str
) -> None:
    with pytest.raises(JournalError, match="is no name of a data type"):
        store.save(replace(snapshot, data_type=name))
    with pytest.raises(JournalError, match="is no name of a data type"):
        store.load(name)


def test_a_snapshot_of_another_data_type_is_not_used(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "beer").mkdir()
    Path(store.save(snapshot)).rename(tmp_path / "beer" / "000000000001-00000000.snapshot")
    result = store.load("beer")
    assert result.snapshot is None
    assert "of 'wine', not 'beer'" in result.faults[0].reason


def test_foreign_files_are_left_alone(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "wine").mkdir()
    foreign = tmp_path / "wine" / "notes.txt"
    foreign.write_text("keep me")
    for _ in range(4):
        store.save(snapshot)
    assert store.load("wine").snapshot == snapshot
    assert foreign.read_text() == "keep me"


def test_one_that_cannot_be_read_is_reported_and_left(
    store: SnapshotStore, snapshot: Snapshot
) -> None:
    store.save(snapshot)
    path = Path(store.save(snapshot))
    path.unlink()
    path.mkdir()  # reading it fails, for root as well
    result = store.load("wine")
    assert result.snapshot == snapshot
    assert [(fault.path, fault.set_aside) for fault in result.faults] == [(str(path), None)]


def test_a_write_torn_at_any_byte_leaves_the_older_one(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    store.save(snapshot)
    content = b"".join(encode(replace(snapshot, version=8)))
    for length in range(len(content)):
        torn = tmp_path / "wine" / "000000000002-00000000.snapshot"
        torn.write_bytes(content[:length])
        result = store.load("wine")
        assert result.snapshot == snapshot
        assert len(result.faults) == 1


@settings(max_examples=60, deadline=None)
@given(
    damage=st.lists(
        st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 7)), min_size=1, max_size=4
    )
)
def test_no_damage_makes_a_wrong_snapshot(damage: list[tuple[bool, int, int]]) -> None:
    versions = [_small(1), _small(2)]
    with TemporaryDirectory() as folder:
        store = SnapshotStore(folder)
        paths = [Path(store.save(one)) for one in versions]
        for newer, index, bit in damage:
            content = bytearray(paths[newer].read_bytes())
            content[index % len(content)] ^= 1 << bit
            paths[newer].write_bytes(content)
        sound = [one for one, path in zip(versions, paths, strict=True) if _is(one, path)]
        assert store.load("wine").snapshot == (sound[-1] if sound else None)


def _small(version: int) -> Snapshot:
    return Snapshot("wine", "m", "", "ONNX", version, "ab", version, 1, {"a": bytes(50)})


def _is(snapshot: Snapshot, path: Path) -> bool:
    return path.read_bytes() == b"".join(encode(snapshot))


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_while_saving_leaves_a_whole_one(
    store: SnapshotStore, tmp_path: Path, kill_child: Callable[..., int], seed: int
) -> None:
    after_lines = random.Random(seed).randint(1, 40)
    saved = kill_child("save_forever", tmp_path, after_lines=after_lines)
    result = store.load("wine")
    assert result.snapshot is not None
    assert result.faults == ()
    assert result.snapshot.version in (saved, saved + 1)  # the next one may just have been done


def test_what_a_dead_process_left_is_swept_up(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    store.save(snapshot)
    (tmp_path / "wine" / ".0123abcd.unfinished").write_bytes(b"half a model")
    store.save(snapshot)
    assert not list((tmp_path / "wine").glob(".*"))


def test_a_save_that_fails_is_an_error_and_leaves_the_older_one(
    store: SnapshotStore, snapshot: Snapshot, tmp_path: Path, run_child: Callable[..., str]
) -> None:
    store.save(snapshot)
    printed = run_child("save_over_limit", tmp_path)
    assert printed.startswith(f"{tmp_path}/wine: File too large; mend")
    assert store.load("wine").snapshot == snapshot
    assert len(list((tmp_path / "wine").iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, snapshot: Snapshot) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="file"):
        SnapshotStore(tmp_path / "file").save(snapshot)
