"""The folders at the top are the packages of `repertory`, by links that must stay whole."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("actors", "http", "journal", "models", "protos", "streams")


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_package_is_a_link_to_its_folder(folder: str) -> None:
    link = ROOT / "src" / "repertory" / folder
    assert link.is_symlink(), f"mend it: ln -sfn ../../{folder} src/repertory/{folder}"
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_linked_folder_has_an_init_module(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), "it would shadow or double modules"


def test_the_standard_http_is_imported_from_the_root() -> None:
    subprocess.run([sys.executable, "-c", "import http.client"], cwd=ROOT, check=True)


def test_tests_and_the_standard_http_are_imported_side_by_side() -> None:
    code = "import http, tests.apache_kafka.server as s; print(http.__file__, s.__file__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    standard, ours = done.stdout.split()
    assert not Path(standard).is_relative_to(ROOT / "http")
    assert Path(ours) == ROOT / "tests" / "apache_kafka" / "server.py"
