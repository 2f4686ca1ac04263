"""Virtual environments of others' packages, made once each from what a file pins.

The tests run clients of others in them, and the benchmarks their peers.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from repertory.errors import RepertoryError

_SECONDS = 600
# What little of a package a test imports is compiled when it is.
_ALONE = ["--no-deps", "--no-compile"]


class EnvironmentMissing(RepertoryError):
    """An environment cannot be made here; the message says what was tried, and how it failed."""


def environment_python(
    folder: Path,
    pins: Path,
    *,
    python: str = sys.executable,
    resolve: bool = True,
    beside: bool = False,
) -> Path:
    """Return the Python of the environment in `folder`, which is made if it is not what `pins` says.

    With `resolve`, what the pinned packages ask for is installed, too; else nothing but the pins.
    With `beside`, the packages of the environment that runs this can be imported in it as well,
    where it has none of its own. Several processes may call it at once: one makes it, the others
    wait. Raises EnvironmentMissing when it cannot be made.
    """
    made = folder / "bin" / "python"
    stamp = _Stamp(folder / "pins.sha256", pins, python)
    if stamp.fits():
        return made
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.fits():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, pins, python=python, options=[] if resolve else _ALONE)
            if beside:
                _add_own_packages(made)
            stamp.set()
    return made


class _Stamp:
    """Says of what pins, and of what Python, an environment was made; set when it is whole."""

    def __init__(self, path: Path, pins: Path, python: str) -> None:
        self._path = path
        version = platform.python_version() if python == sys.executable else python
        self._digest = hashlib.sha256(pins.read_bytes() + version.encode()).hexdigest()

    def fits(self) -> bool:
        return self._path.exists() and self._path.read_text() == self._digest

    def set(self) -> None:
        self._path.write_text(self._digest)


def _make(folder: Path, pins: Path, *, python: str, options: list[str]) -> None:
    _run([python, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    _run([*pip, "install", "--quiet", "--disable-pip-version-check", *options, "-r", str(pins)])


def _add_own_packages(python: Path) -> None:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_run([str(python), "-c", where]).strip())
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissing(f"{' '.join(command)}: no end after {_SECONDS} s") from error
    if done.returncode:
        raise EnvironmentMissing(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout
