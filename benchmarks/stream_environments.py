"""The peers' virtual environments: one each, with what benchmarks/peers/NAME.txt pins."""

import re
import shutil
import sys
from pathlib import Path

from benchmarks.stream_contender import ContenderFailed
from benchmarks.stream_workloads import CACHE, ROOT
from tests.foreign import environment

PEERS = ROOT / "benchmarks" / "peers"

# Bytewax has no wheels for Python 3.13; all peers run on the same one.
_PYTHONS = ("python3.11", "python3.12")


def environment_python(peer: str) -> Path:
    """Return the Python of a peer's environment, which is made if need be.

    Raises ContenderFailed when it cannot be made.
    """
    try:
        return environment.environment_python(CACHE / peer, PEERS / f"{peer}.txt", python=_python())
    except environment.EnvironmentMissing as error:
        raise ContenderFailed(str(error)) from error


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
