"""What the processes of a node tell their router of themselves. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

# A process reports each second; one that has missed five is not taken for well.
STALE_SECONDS = 5.0

_TITLES = {"streams": "the Kafka face", "http": "the HTTP face", "keeper": "the keeper"}


@dataclass(slots=True)
class _Reporter:
    role: str
    name: str
    pid: int
    report: dict[str, Any] = field(default_factory=dict)
    reported: float | None = None  # seconds, of the caller's clock
    exposition: str = ""


class Reports:
    """The newest report and the newest metrics of each client, for as long as it is connected.

    A report may have `troubles`: sentences that say why its process cannot do its work just now.
    Those of the roles in `obliged` have to report; a role is there once for each of its processes.
    """

    def __init__(self, obliged: Collection[str] = ()) -> None:
        self._obliged = Counter(obliged)
        self._reporters: dict[int, _Reporter] = {}
        self._seen: set[str] = set()

    def greeted(self, peer: int, *, role: str, name: str, pid: int) -> None:
        """Note who a client is."""
        self._reporters[peer] = _Reporter(role, name, pid)

    def reported(self, peer: int, report: dict[str, Any], now: float) -> None:
        """Take a report, which replaces the one before. That of a stranger is ignored."""
        if (reporter := self._reporters.get(peer)) is not None:
            reporter.report, reporter.reported = report, now
            self._seen.add(reporter.role)

    def measured(self, peer: int, exposition: str) -> None:
        """Take metrics in Prometheus' text format, which replace those before."""
        if (reporter := self._reporters.get(peer)) is not None:
            reporter.exposition = exposition

    def gone(self, peer: int) -> None:
        """Forget a client and what it told."""
        self._reporters.pop(peer, None)

    def by_name(self) -> dict[str, dict[str, Any]]:
        """Return the reports by `role:name`, and by `role:name:pid` where that is not enough."""
        return {
            name: each.report for name, each in self._named().items() if each.reported is not None
        }

    def texts(self) -> dict[str, str]:
        """Return the metrics of each client that told some."""
        return {name: each.exposition for name, each in self._named().items() if each.exposition}

    def troubles(self, now: float) -> dict[str, list[str]]:
        """Return by role what keeps its processes from their work; empty when all is well."""
        found: dict[str, list[str]] = {}
        for role, wanted in self._obliged.items():
            if self._told(role) < wanted:
                found[role] = [self._missing(role)]
        for each in self._reporters.values():
            for sentence in self._troubles_of(each, now):
                told = found.setdefault(each.role, [])
                if sentence not in told:
                    told.append(sentence)
        return found

    def _troubles_of(self, reporter: _Reporter, now: float) -> list[str]:
        if reporter.role in self._obliged:
            if reporter.reported is None:  # of several, it is the number that counts
                return [self._missing(reporter.role)] if self._obliged[reporter.role] == 1 else []
            if (age := now - reporter.reported) > STALE_SECONDS:
                return [f"{_title(reporter.role)} has not reported for {age:.0f} s"]
        return [str(each) for each in reporter.report.get("troubles") or ()]

    def _told(self, role: str) -> int:
        """Return how many clients of a role have reported."""
        them = (each for each in self._reporters.values() if each.role == role)
        return sum(each.reported is not None for each in them)

    def _missing(self, role: str) -> str:
        if (wanted := self._obliged[role]) > 1:
            missing = wanted - self._told(role)
            return f"{missing} of {wanted} processes of {_title(role)} have not reported yet"
        there = [each for each in self._reporters.values() if each.role == role]
        ended = role in self._seen and all(each.reported is None for each in there)
        again = "ended, and its successor " if ended else ""
        return f"{_title(role)} {again}has not reported yet"

    def _named(self) -> Mapping[str, _Reporter]:
        names = Counter(f"{each.role}:{each.name}" for each in self._reporters.values())
        return {
            name if names[name] == 1 else f"{name}:{each.pid}": each
            for each in self._reporters.values()
            for name in (f"{each.role}:{each.name}",)
        }


def _title(role: str) -> str:
    return _TITLES.get(role, f"the process {role!r}")
