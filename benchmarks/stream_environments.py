"""The peers' virtual environments: one each, with what benchmarks/peers/NAME.txt pins."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.stream_contender import ContenderFailed
from benchmarks.stream_workloads import CACHE, ROOT

PEERS = ROOT / "benchmarks" / "peers"

# Bytewax has no wheels for Python 3.13; all peers run on the same one.
_PYTHONS = ("python3.11", "python3.12")
_PIP_SECONDS = 600


def environment_python(peer: str) -> Path:
    """Return the Python of a peer's environment, which is made if need be.

    Raises ContenderFailed when it cannot be made.
    """
    pins = PEERS / f"{peer}.txt"
    folder = CACHE / peer
    stamp = folder / "pins.sha256"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        _run([_python(), "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(pins)])
        stamp.write_text(digest)
    return folder / "bin" / "python"


def pinned(peer: str, *packages: str) -> str:
    """Return the versions of packages that a peer's pins name."""
    text = (PEERS / f"{peer}.txt").read_text()
    found = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    return ", ".join(f"{name} {found[name]}" for name in packages)


def _python() -> str:
    if f"python3.{sys.version_info.minor}" in _PYTHONS:
        return sys.executable
    found = next(filter(None, map(shutil.which, _PYTHONS)), None)
    if found is None:
        raise ContenderFailed(f"the peers run on {' or '.join(_PYTHONS)}, and neither is here")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_PIP_SECONDS
    )
    if done.returncode:
        raise ContenderFailed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
