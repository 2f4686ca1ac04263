"""What another node checked is taken, if it is exactly what is asked for, and not checked again."""

import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journal.faulty_files import FaultyFileSystem, faults

from repertory.actors import shared_checks
from repertory.actors.messages import StageModel
from repertory.actors.shared_checks import SharedChecks
from repertory.config import DataType
from repertory.journal.catalog import ModelVersion
from repertory.journal.shared_snapshots import SharedSnapshots
from repertory.journal.snapshot import Snapshot
from repertory.models.model import Schema
from repertory.models.prepared import CHECKED, load_prepared
from repertory.models.schema import schema_of

WINE = DataType(message="repertory.protos.winerecord_pb2:WineRecord", features=("pH", "alcohol"))
SCHEMAS = {"wine": schema_of("wine", WINE)}
MODEL = ModelVersion("wine", 5, "sum-5", "", "ONNX", "ab" * 32, published_ms=1)


@pytest.fixture
def url() -> str:
    """A store for this test alone."""
    return f"faulty://{uuid.uuid4().hex}"


@asynccontextmanager
async def checks(
    url: str | None, schemas: dict[str, Schema] = SCHEMAS
) -> AsyncIterator[SharedChecks]:
    made = SharedChecks(url, schemas)
    yield made
    await made.close()


@pytest.fixture
async def snapshot(stager: Callable[[int], StageModel]) -> Snapshot:
    """What another node has on stage: version 5, since position 9."""
    update = stager(5)
    files = {path.name: path.read_bytes() for path in Path(update.folder).iterdir()}
    async with checks(None) as other:
        files[CHECKED] = other.mark("wine").encode()
    return Snapshot("wine", "sum-5", "", "ONNX", 5, MODEL.sha256, 9, 1, files)


async def take(url: str, folder: Path, model: ModelVersion = MODEL) -> bool:
    async with checks(url) as here:
        return await here.take(model, folder)


async def test_a_version_that_is_on_stage_elsewhere_is_taken(
    url: str, snapshot: Snapshot, tmp_path: Path
) -> None:
    SharedSnapshots(url).save(snapshot)
    assert await take(url, tmp_path / "models" / "wine" / "5")
    load_prepared(tmp_path / "models" / "wine" / "5")
    assert sorted(each.name for each in (tmp_path / "models" / "wine").iterdir()) == ["5"]
    mark = (tmp_path / "models" / "wine" / "5" / CHECKED).read_bytes()
    assert mark == snapshot.files[CHECKED]  # it can be passed on


@pytest.mark.parametrize(
    "changes", [{"version": 6}, {"sha256": "cd" * 32}, {"model_type": "PMML"}], ids=str
)
async def test_another_version_content_or_type_is_not_taken(
    url: str, snapshot: Snapshot, tmp_path: Path, changes: dict[str, object]
) -> None:
    SharedSnapshots(url).save(snapshot)
    assert not await take(url, tmp_path / "5", replace(MODEL, **changes))  # type: ignore[arg-type]
    assert not (tmp_path / "5").exists()


async def test_what_was_checked_by_another_software_is_not_taken(
    url: str, snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SharedSnapshots(url).save(snapshot)
    monkeypatch.setattr(shared_checks, "__version__", "9.9")
    assert not await take(url, tmp_path / "5")


async def test_what_was_checked_against_another_schema_is_not_taken(
    url: str, snapshot: Snapshot, tmp_path: Path
) -> None:
    SharedSnapshots(url).save(snapshot)
    other = schema_of("wine", WINE.model_copy(update={"features": ("alcohol", "pH")}))
    async with checks(url, {"wine": other}) as here:
        assert not await here.take(MODEL, tmp_path / "5")


async def test_what_nobody_says_to_have_checked_is_not_taken(
    url: str, snapshot: Snapshot, tmp_path: Path
) -> None:
    files = {name: each for name, each in snapshot.files.items() if name != CHECKED}
    SharedSnapshots(url).save(replace(snapshot, files=files))
    assert not await take(url, tmp_path / "5")


async def test_prepared_files_that_are_not_whole_are_not_taken(
    url: str, snapshot: Snapshot, tmp_path: Path
) -> None:
    SharedSnapshots(url).save(replace(snapshot, files={**snapshot.files, "content": b"garbage"}))
    assert not await take(url, tmp_path / "5")
    assert list(tmp_path.glob("5*")) == []


async def test_a_store_that_hangs_costs_one_wait_and_is_left_in_peace(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_checks, "TAKE_SECONDS", 0.05)
    release, began = threading.Event(), time.monotonic()
    with faults(hang=release):
        async with checks(url) as here:
            for _ in range(100):
                assert not await here.take(MODEL, tmp_path / "5")
            assert time.monotonic() - began < 2
            release.set()


async def test_without_a_store_there_is_nothing_to_take(tmp_path: Path) -> None:
    calls = len(FaultyFileSystem.calls)
    async with checks(None) as here:
        assert not await here.take(MODEL, tmp_path / "5")
    assert len(FaultyFileSystem.calls) == calls
