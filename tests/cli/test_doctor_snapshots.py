"""`repertory doctor` says whether snapshots can be shared, and what is missing."""

import threading
import uuid
from pathlib import Path

import pytest
from fsspec.registry import known_implementations
from tests.journal.faulty_files import faults

from repertory.doctor_snapshots import examine_snapshots
from repertory.finding import Finding


def look(url: str, **options: float) -> Finding:
    [finding] = examine_snapshots(url, **options)
    return finding


def test_without_a_url_there_is_nothing_to_say() -> None:
    assert list(examine_snapshots(None)) == []


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    assert look(f"file://{tmp_path}").level == "ok"
    assert look(str(tmp_path)).level == "ok"
    assert list(tmp_path.iterdir()) == []


def test_another_file_system_that_can_be_written_is_well() -> None:
    assert look(f"memory://{uuid.uuid4().hex}").level == "ok"
    assert look(f"faulty://{uuid.uuid4().hex}").level == "ok"


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    finding = look(f"file://{tmp_path}/file/snapshots")
    assert (finding.level, "Not a directory" in finding.found) == ("failed", True)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_implementations, "shelf", {"class": "shelffs.Shelf", "err": "no"})
    finding = look("shelf://anna:secret@x/y")
    assert finding.level == "failed"
    assert finding.found == "shelf://x/y: shelf:// needs a package: pip install shelffs"


def test_a_store_that_is_down_or_hangs_is_told() -> None:
    release = threading.Event()
    with faults(down=ConnectionRefusedError(111, "Connection refused")):
        assert "Connection refused" in look("faulty://x").found
    with faults(hang=release):
        assert "has not answered for 0.05 s" in look("faulty://x", seconds=0.05).found
        release.set()
