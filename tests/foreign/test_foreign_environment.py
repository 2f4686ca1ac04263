"""The environments of others' clients: made once, and made again when their pins change."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.foreign.environment import EnvironmentMissing, environment_python


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    """Pins of no packages, for which no network is needed."""
    path = tmp_path / "nothing.txt"
    path.write_text("# nothing\n")
    return path


def can_import(python: Path, module: str) -> bool:
    command = [str(python), "-I", "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def born(python: Path) -> int:
    return os.stat(python.parent.parent / "pyvenv.cfg").st_mtime_ns


def test_several_that_ask_at_once_share_one(tmp_path: Path, pins: Path) -> None:
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(environment_python, tmp_path / "it", pins) for _ in range(3)]
        (python,) = {each.result() for each in asked}
    before = born(python)
    assert environment_python(tmp_path / "it", pins) == python
    assert born(python) == before
    pins.write_text("# other pins\n")
    environment_python(tmp_path / "it", pins)
    assert born(python) > before


def test_our_packages_are_in_it_only_when_it_is_beside_them(tmp_path: Path, pins: Path) -> None:
    assert not can_import(environment_python(tmp_path / "apart", pins), "yaml")
    assert can_import(environment_python(tmp_path / "beside", pins, beside=True), "yaml")


def test_what_cannot_be_installed_is_told(tmp_path: Path, pins: Path) -> None:
    pins.write_text("./no-such-package\n")
    with pytest.raises(EnvironmentMissing, match="no-such-package"):
        environment_python(tmp_path / "it", pins)
    assert not (tmp_path / "it" / "pins.sha256").exists()
