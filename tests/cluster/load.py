"""Load on a cluster while something happens to it, and a report of what its users noticed."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.cluster.cluster import Cluster, Kind, topic_of
from tests.cluster.load_process import LoadProcess
from tests.cluster.timeline import longest_after

# How long a client waits for an answer before it tries again: longer than serving may stand still.
SINGLE_PATIENCE, REPLICATED_PATIENCE = 12.0, 5.0
SINGLE_SECONDS, REPLICATED_SECONDS = 10.0, 3.0  # serving resumes within, after a fault
# Kafka takes a member that says no more for gone after its session, of 6 s; others have its
# partitions then.
STREAM_SECONDS = 10.0
RESULTS_SECONDS = 60.0  # after the last record was sent, until the last result must be there


@dataclass(frozen=True)
class Row:
    """What users of the data types of one kind noticed. Seconds are the worst of any of them."""

    kind: Kind
    requests: int
    again: int
    failed: list[Any]
    http_backwards: int
    http_pause: float  # the longest time without an answer from any node, after the fault
    http_slowest: float
    records: int
    undelivered: int
    missing: int
    doubled: int
    strange: int
    disorder: int
    backwards: int
    stepped_back: int
    stream_pause: float  # the longest time without a result of any partition, after the fault
    partition_pause: float  # of one partition
    stream_slowest: float

    @property
    def allowed_pause(self) -> float:
        """Seconds within which serving must resume."""
        return SINGLE_SECONDS if self.kind.replicas == 1 else REPLICATED_SECONDS

    def faults(self, *, patience: float) -> list[str]:
        """Return what is not as it should be; pauses may be so many times as long as they should."""
        never = ["undelivered", "missing", "strange", "disorder", "backwards", "http_backwards"]
        if self.kind.delivery == "exactly-once":
            never += ["doubled", "stepped_back"]
        found = [f"{each}: {count}" for each in never if (count := getattr(self, each))]
        if self.failed:
            found.append(f"{len(self.failed)} requests failed both times")
        for each, allowed in (
            ("http_pause", self.allowed_pause),
            ("stream_pause", STREAM_SECONDS),
        ):
            if (seconds := getattr(self, each)) > allowed * patience:
                found.append(f"{each}: {seconds:.2f} s, where {allowed:g} s are allowed")
        return [f"{self.kind}: {each}" for each in found]


_COLUMNS: Mapping[str, str] = {
    "requests": "requests",
    "again": "again",
    "failed": "failed",
    "http_pause": "pause s",
    "http_slowest": "slowest s",
    "records": "records",
    "missing": "lost",
    "doubled": "doubled",
    "backwards": "back",
    "stream_pause": "pause s",
    "partition_pause": "1 part. s",
    "stream_slowest": "slowest s",
}


@dataclass(frozen=True)
class Report:
    """What users noticed of one fault."""

    what: str
    rows: list[Row]
    reasons: list[tuple[str, int]]  # why first attempts failed
    lost: list[Any]
    dead_letters: list[str]

    def faults(self, *, patience: float) -> list[str]:
        """Return what is not as it should be; pauses may be so many times as long as they should."""
        letters = [f"dead letter: {each}" for each in self.dead_letters]
        return [fault for row in self.rows for fault in row.faults(patience=patience)] + letters

    def __str__(self) -> str:
        """Return a table."""
        head = "".join(f"{title:>10}" for title in _COLUMNS.values())
        lines = [f"\n=== {self.what}", f"{'':27}{'HTTP':>30}{'Kafka':>50}", f"{'':27}{head}"]
        lines += [f"{each.kind!s:27}{_cells(each)}" for each in self.rows]
        lines += [f"    {count} x {reason}" for reason, count in self.reasons]
        lines += [f"    failed both times: {each}" for row in self.rows for each in row.failed[:3]]
        lines += [f"    lost: {each}" for each in self.lost]
        lines += [f"    dead letter: {each}" for each in self.dead_letters]
        return "\n".join(lines)


def _cells(row: Row) -> str:
    cells = []
    for name in _COLUMNS:
        value = len(row.failed) if name == "failed" else getattr(row, name)
        cells.append(f"{value:10.2f}" if isinstance(value, float) else f"{value:10,}")
    return "".join(cells)


class Load:
    """Records on Kafka, and HTTP scoring on the nodes that run now; both on all data types.

    A context manager; on entry both succeed.
    """

    def __init__(self, cluster: Cluster, *, rate: int, http_rate: int, linger: float = 1.0) -> None:
        self._kinds = cluster.kinds
        self._urls = [node.url for node in cluster.running]
        self._http_settings = {
            "urls": self._urls,
            "headers": cluster.headers,
            "every": len(self._urls) * len(self._kinds) / http_rate,
            "patience": {
                name: SINGLE_PATIENCE if kind.replicas == 1 else REPLICATED_PATIENCE
                for name, kind in self._kinds.items()
            },
        }
        self._stream_settings = {
            "brokers": cluster.brokers,
            "rate": rate,
            "topics": {topic_of(name): name for name in self._kinds},
            "atLeastOnce": [
                name for name, kind in self._kinds.items() if kind.delivery == "at-least-once"
            ],
            "patience": RESULTS_SECONDS,
            "linger": linger,
        }
        self._processes: list[LoadProcess] = []
        self._fault = (0.0, "no fault")

    def __enter__(self) -> Self:
        for module, settings in (
            ("tests.cluster.http_load", self._http_settings),
            ("tests.cluster.stream_load", self._stream_settings),
        ):
            self._processes.append(LoadProcess(module, settings))
        try:
            for process in self._processes:
                process.wait_running()
        except BaseException:
            self.__exit__()
            raise
        self._fault = (time.time(), "no fault")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def mark(self, what: str) -> None:
        """Tell that something happens now."""
        self._fault = (time.time(), what)

    def end(self) -> Report:
        """Make no more load, wait until all is answered, and return, and print, the report."""
        http, stream = (process.end() for process in self._processes)
        self._processes.clear()
        moment, what = self._fault
        pairs = http["data_types"], stream["data_types"]
        rows = [
            _row(kind, moment, *([all_[name] for name in names] for all_ in pairs))
            for kind, names in _by_kind(self._kinds).items()
        ]
        partitions = [part for each in stream["data_types"].values() for part in each["partitions"]]
        report = Report(
            what,
            rows,
            reasons=http["reasons"],
            lost=[place for part in partitions for place in part["lost"]][:5],
            dead_letters=stream["deadLetters"],
        )
        print(report, flush=True)
        return report


def _by_kind(kinds: Mapping[str, Kind]) -> dict[Kind, list[str]]:
    found: dict[Kind, list[str]] = {}
    for name, kind in kinds.items():
        found.setdefault(kind, []).append(name)
    return found


def _row(kind: Kind, moment: float, http: list[Any], stream: list[Any]) -> Row:
    parts = [part for each in stream for part in each["partitions"]]
    return Row(
        kind,
        requests=_sum(http, "requests"),
        again=_sum(http, "again"),
        failed=[failure for each in http for failure in each["failed"]],
        http_backwards=_sum(http, "backwards"),
        http_pause=_longest(http, moment),
        http_slowest=max(each["slowest"] for each in http),
        records=_sum(parts, "records"),
        undelivered=_sum(parts, "undelivered"),
        missing=_sum(parts, "missing"),
        doubled=_sum(parts, "doubled"),
        strange=_sum(parts, "strange"),
        disorder=_sum(parts, "disorder"),
        backwards=_sum(parts, "backwards"),
        stepped_back=_sum(parts, "steppedBack"),
        stream_pause=_longest(stream, moment),
        partition_pause=_longest(parts, moment),
        stream_slowest=max(each["slowest"] for each in parts),
    )


def _sum(each: Iterable[Any], key: str) -> int:
    return sum(one[key] for one in each)


def _longest(each: Iterable[Any], moment: float) -> float:
    return max(longest_after(one["pauses"], moment) for one in each)
