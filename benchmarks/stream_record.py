"""What is known so far, in a file, so that a run that was stopped can go on."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.stream_trial import Result


class OtherSettings(Exception):
    """The file holds results of a run with other settings."""


@dataclass
class Record:
    """The results of a run, kept in `path` if there is one."""

    path: Path | None
    settings: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def load(self) -> None:
        """Take up what is in the file. Raises OtherSettings."""
        if self.path is None or not self.path.exists():
            return
        document = json.loads(self.path.read_text())
        if document["settings"] != self.settings:
            raise OtherSettings(f"{self.path} is of a run with {document['settings']}")
        self.facts = document["facts"]
        self.results = [Result.from_json(each) for each in document["results"]]

    def has(self, number: int, workload: str, contender: str) -> bool:
        """Whether a trial was done, and well."""
        return any(
            (r.round, r.workload, r.contender) == (number, workload, contender)
            for r in self.results
            if r.failure is None
        )

    def note(self, facts: dict[str, Any], versions: dict[str, str]) -> None:
        """Keep what this part of the run is measured on and with."""
        self.facts = {**facts, "versions": {**self.facts.get("versions", {}), **versions}}

    def add(self, result: Result) -> None:
        """Keep a result; it replaces one that had failed."""
        place = (result.round, result.workload, result.contender)
        kept = [r for r in self.results if (r.round, r.workload, r.contender) != place]
        self.results = [*kept, result]
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self.path is None:
            return
        results = [result.as_json() for result in self.results]
        document = {"settings": self.settings, "facts": self.facts, "results": results}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=1))
        os.replace(temporary, self.path)
