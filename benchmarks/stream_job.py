"""What a contender is told to do: a file that the variable BENCHMARK_JOB names."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "BENCHMARK_JOB"
"""In the environment of every process of a contender, which is told by it."""


@dataclass(frozen=True, slots=True)
class Job:
    """Read records from one topic, score them, and write results to another."""

    bootstrap: str
    records: str
    """The topic of the records."""
    results: str
    dead_letters: str
    group: str
    data_type: str
    message: str
    features: tuple[str, ...]
    value_format: str
    model: str
    """Path of the ONNX file."""
    model_sha256: str
    prepared: str
    """Folder of the same model as it leaves the green room."""
    exactly_once: bool
    folder: str
    """For what a contender keeps on disk."""

    @property
    def file(self) -> Path:
        """Where this job is written."""
        return Path(self.folder) / "job.json"

    def write(self) -> Path:
        """Write the file, and return its path."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(asdict(self), indent=1))
        return self.file


def read_job() -> Job:
    """Return the job that this process has."""
    document: dict[str, Any] = json.loads(Path(os.environ[VARIABLE]).read_text())
    return Job(**document | {"features": tuple(document["features"])})


@contextmanager
def environment(changes: dict[str, str]) -> Iterator[None]:
    """Have variables in the environment of what is started meanwhile."""
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
