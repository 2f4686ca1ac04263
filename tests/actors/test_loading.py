"""The loader opens models beside the running one, and keeps snapshots that can be trusted."""

import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from repertory.actors.loading import Cleared, Loaded, Loader, LoadFailed, Restored, Result
from repertory.actors.messages import ClearStage, StageModel
from repertory.models.model import Columns, Model, Outcomes, Signature, Task

Stager = Callable[[int], StageModel]
Waiter = Callable[..., None]


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    made = Loader("wine", tmp_path / "snapshots")
    yield made
    made.close()


def results(loader: Loader, count: int = 1) -> list[Result]:
    """Return the next results, as an actor gets them: when the file is readable."""
    found: list[Result] = []
    end = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < end
        select.select([loader.fileno()], [], [], 1)
        found += loader.results()
    return found


def scored(model: Model) -> float:
    columns = Columns(1, {"pH": np.array([3.0]), "alcohol": np.array([9.0])})
    values = model.score(columns).values
    assert values is not None
    return float(values[0])


def saved(tmp_path: Path, update: StageModel, since_ms: int = 77) -> list[Path]:
    """Write the snapshot of a version, and return its files."""
    loader = Loader("wine", tmp_path / "snapshots")
    loader.save(update, since_ms)
    loader.close()
    return sorted((tmp_path / "snapshots" / "wine").glob("*.snapshot"))


def test_a_model_is_loaded_and_scores(loader: Loader, stager: Stager) -> None:
    loader.load(stager(5))
    [loaded] = results(loader)
    assert isinstance(loaded, Loaded)
    assert loaded.update == stager(5)
    assert loaded.since_ms is None
    assert scored(loaded.model) == 17


def test_a_model_that_does_not_open_is_told_with_its_reason(loader: Loader, stager: Stager) -> None:
    update = stager(5)
    (Path(update.folder) / "content").write_bytes(b"garbage")
    loader.load(update)
    [failed] = results(loader)
    assert isinstance(failed, LoadFailed)
    assert failed.update == update
    assert "digest does not match" in failed.reason


def test_a_model_whose_files_are_gone_is_told_and_the_next_one_loads(
    loader: Loader, stager: Stager
) -> None:
    update = stager(5)
    shutil.rmtree(update.folder)
    loader.load(update)
    loader.load(stager(6))
    failed, loaded = results(loader, 2)
    assert isinstance(failed, LoadFailed)
    assert "cannot be read" in failed.reason
    assert isinstance(loaded, Loaded)


def test_without_a_snapshot_nothing_is_restored_and_nothing_is_wrong(loader: Loader) -> None:
    loader.restore()
    assert results(loader) == [Restored()]


def test_a_snapshot_restores_the_version_as_it_was(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    saved(tmp_path, stager(5))
    shutil.rmtree(tmp_path / "models")
    loader.restore()
    loaded, restored = results(loader, 2)
    assert isinstance(loaded, Loaded)
    assert (loaded.update.version, loaded.update.position, loaded.since_ms) == (5, 5, 77)
    assert loaded.update.sha256 == stager(5).sha256
    assert scored(loaded.model) == 17
    assert restored == Restored()


def test_a_restored_model_can_be_opened_again_when_its_engine_dies(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    saved(tmp_path, stager(5))
    loader.restore()
    loaded, _ = results(loader, 2)
    assert isinstance(loaded, Loaded)
    loader.load(loaded.update)
    [again] = results(loader)
    assert isinstance(again, Loaded)
    assert scored(again.model) == 17


def test_a_corrupt_snapshot_is_reported_and_the_older_one_is_used(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    saved(tmp_path, stager(5))
    newest = saved(tmp_path, stager(6))[-1]
    flip_a_bit(newest)
    loader.restore()
    loaded, restored = results(loader, 2)
    assert isinstance(loaded, Loaded)
    assert loaded.update.version == 5
    assert isinstance(restored, Restored)
    assert newest.name in restored.faults[0]


def test_a_corrupt_snapshot_alone_is_reported_and_not_used(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    [only] = saved(tmp_path, stager(5))
    flip_a_bit(only)
    loader.restore()
    [restored] = results(loader)
    assert isinstance(restored, Restored)
    assert len(restored.faults) == 1
    assert not only.exists()  # set aside


def test_of_a_retired_model_only_the_mark_is_restored(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    saved(tmp_path, stager(5))
    loader.clear(ClearStage("wine", 6, 77))
    loader.restore()
    assert results(loader, 3) == [*[Cleared(ClearStage("wine", 6, 77))] * 2, Restored()]
    assert len(list((tmp_path / "snapshots" / "wine").iterdir())) == 1


def test_when_the_mark_is_corrupt_no_retired_model_comes_back(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    saved(tmp_path, stager(5))
    loader.clear(ClearStage("wine", 6, 77))
    results(loader)
    flip_a_bit(next((tmp_path / "snapshots" / "wine").glob("*.snapshot")))
    loader.restore()
    [restored] = results(loader)
    assert isinstance(restored, Restored)
    assert len(restored.faults) == 1


def test_a_mark_that_cannot_be_written_does_not_stop_a_retirement(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "wine").write_text("a file, where a folder is due")
    loader = Loader("wine", tmp_path / "snapshots")
    loader.clear(ClearStage("wine", 6, 77))
    assert results(loader) == [Cleared(ClearStage("wine", 6, 77))]
    loader.close()


def test_a_snapshot_of_a_model_that_no_longer_opens_is_reported(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    update = stager(5)
    (Path(update.folder) / "prepared.json").write_text("{}")
    saved(tmp_path, update)
    loader.restore()
    [restored] = results(loader)
    assert isinstance(restored, Restored)
    assert "the snapshot of version 5" in restored.faults[0]


def test_a_folder_of_snapshots_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file, where a folder is due")
    loader = Loader("wine", tmp_path / "snapshots")
    try:
        loader.restore()
        [restored] = results(loader)
        assert isinstance(restored, Restored)
        assert str(tmp_path) in restored.faults[0]
    finally:
        loader.close()


def test_a_snapshot_that_cannot_be_written_stops_nothing(
    tmp_path: Path, loader: Loader, stager: Stager
) -> None:
    update = stager(5)
    shutil.rmtree(update.folder)
    loader.save(update, 1)
    loader.load(stager(6))
    [loaded] = results(loader)
    assert isinstance(loaded, Loaded)
    assert not list(tmp_path.glob("snapshots/wine/*.snapshot"))


class _Closes:
    signature = Signature(Task.REGRESSION, ())

    def __init__(self) -> None:
        self.closed_by: list[str] = []

    def score(self, columns: Columns) -> Outcomes:
        return Outcomes(columns.count)

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)
        raise RuntimeError("an engine that does not go quietly")


def test_a_model_is_closed_on_the_loaders_thread_and_may_fail_at_it(
    loader: Loader, stager: Stager
) -> None:
    model = _Closes()
    loader.close_model(model)
    loader.load(stager(6))
    assert isinstance(results(loader)[0], Loaded)
    assert model.closed_by == ["loader"]


def test_closing_finishes_the_snapshot_that_is_queued(tmp_path: Path, stager: Stager) -> None:
    assert len(saved(tmp_path, stager(5))) == 1


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
