"""Temporary folders go with their process, however it ends."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repertory.models.work_folder import WorkFolder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_folder_is_removed_with_all_in_it() -> None:
    folder = WorkFolder("test")
    (folder.path / "file").write_bytes(b"x")
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_a_folder_in_use_is_left_alone() -> None:
    first, second = WorkFolder("test"), WorkFolder("test")
    assert first.path.exists()
    first.remove()
    second.remove()


def test_those_who_begin_at_once_do_not_remove_each_others_folders() -> None:
    def whole(_: int) -> bool:
        folder = WorkFolder("test")
        held = (folder.path / ".lock").exists()
        folder.remove()
        return held

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(whole, range(400)))


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = """
import os, signal
from repertory.models.work_folder import WorkFolder
folder = WorkFolder("test")
os.kill(os.getpid(), signal.SIGKILL)
"""
    found = subprocess.run([sys.executable, "-c", code], env={"TMPDIR": str(tmp_path)}, check=False)
    assert found.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    folder = WorkFolder("test")
    assert not left.exists()
    folder.remove()
