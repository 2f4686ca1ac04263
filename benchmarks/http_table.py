"""Results as tables. Pure."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.http_servers import REPERTORY, Server
from benchmarks.http_trial import PACE, Result

_SCORE = (REPERTORY, "`/score`")
_FLOOR = "fastapi"
_FLOOR_TIMES = 1.5
"""What Repertory may take of the floor's p50 when one client is alone."""

Value = Callable[[Result], float]
Row = tuple[str, str]
"""A server's key and a form."""


@dataclass(frozen=True, slots=True)
class Medians:
    """The medians of the rounds, by row and load. A row that failed once has none."""

    rows: tuple[Row, ...]
    loads: tuple[str, ...]
    results: Mapping[tuple[Row, str], Result]

    def of(self, row: Row, load: str) -> Result | None:
        """Return what a row had at a load."""
        return self.results.get((row, load))

    def best(self, row: Row) -> float:
        """Return the most requests a second of any number of clients; 0 when it failed."""
        found = [self.of(row, load) for load in self.loads if load != PACE]
        return max((each.rate for each in found if each), default=0.0)


_MEASURED = (
    "rate",
    "p50_ms",
    "p99_ms",
    "cpu_per_thousand",
    "memory_mb",
    "largest_mb",
    "client_cores",
)


def medians(results: Sequence[Result]) -> Medians:
    """Return the medians of all rounds."""
    failed = {(each.server, each.form) for each in results if each.failure is not None}
    rows = tuple(dict.fromkeys((each.server, each.form) for each in results))
    loads = tuple(dict.fromkeys(each.load for each in results if each.load))
    found = {}
    for row in rows:
        for load in loads:
            own = [r for r in results if (r.server, r.form) == row and r.load == load]
            if own and row not in failed:
                values = {
                    name: statistics.median(getattr(r, name) for r in own) for name in _MEASURED
                }
                most = max(r.processes for r in own)
                found[row, load] = Result(0, *row, load, processes=most, **values)
    return Medians(rows, loads, found)


def markdown(found: Medians, servers: Sequence[Server]) -> list[str]:
    """Return the tables, and below them what the other setting of a server did."""
    by_key = {server.key: server for server in servers}
    rows, others = _chosen(found, by_key)
    clients = [load for load in found.loads if load != PACE]
    titles = {row: _title(by_key[row[0]]) for row in found.rows}
    return [
        *_speeds(found, rows, titles, clients),
        "",
        *_costs(found, rows, titles, clients[-1]),
        "",
        *(_other(found, row, titles) for row in others),
    ]


def _chosen(found: Medians, by_key: Mapping[str, Server]) -> tuple[list[Row], list[Row]]:
    """Part the rows into those that are shown, and those whose other setting got more done."""
    shown: list[Row] = []
    others: list[Row] = []
    for row in found.rows:
        name = by_key[row[0]].name
        same = [r for r in found.rows if by_key[r[0]].name == name and r[1] == row[1]]
        (shown if row == max(same, key=found.best) else others).append(row)
    return shown, others


def _title(server: Server) -> str:
    return f"{server.title}, {server.setting}" if server.setting else server.title


def _speeds(
    found: Medians, rows: Iterable[Row], titles: Mapping[Row, str], clients: Sequence[str]
) -> list[str]:
    headings = [
        f"{what}, {load}" for what in ("requests/s", "p50 ms", "p99 ms") for load in clients
    ]
    lines = _head(["server", "asked by", *headings, "of `/score`"], left=2)
    for row in rows:
        own = [found.of(row, load) for load in clients]
        cells = [_cell(each, lambda r: r.rate, "{:,.0f}") for each in own]
        cells += [_cell(each, lambda r: r.p50_ms, "{:.2f}") for each in own]
        cells += [_cell(each, lambda r: r.p99_ms, "{:.2f}") for each in own]
        cells.append(_part(found, row, clients[-1]))
        lines.append(_line([titles[row], row[1], *cells]))
    return lines


def _costs(found: Medians, rows: Iterable[Row], titles: Mapping[Row, str], most: str) -> list[str]:
    lines = _head(
        [
            "server",
            "asked by",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU s per 1,000",
            f"with {most} clients",
            "MB",
            "processes",
            "the largest, MB",
        ],
        left=2,
    )
    for row in rows:
        pace, busy = found.of(row, PACE), found.of(row, most)
        cells = [
            _cell(pace, lambda r: r.rate, "{:,.0f}"),
            _cell(pace, lambda r: r.p50_ms, "{:.2f}"),
            _cell(pace, lambda r: r.p99_ms, "{:.2f}"),
            _cell(pace, lambda r: r.cpu_per_thousand, "{:.2f}"),
            _cell(busy, lambda r: r.cpu_per_thousand, "{:.2f}"),
            _cell(busy, lambda r: r.memory_mb, "{:,.0f}"),
            _cell(busy, lambda r: r.processes, "{:.0f}"),
            _cell(busy, lambda r: r.largest_mb, "{:,.0f}"),
        ]
        lines.append(_line([titles[row], row[1], *cells]))
    return lines


def _other(found: Medians, row: Row, titles: Mapping[Row, str]) -> str:
    clients = [load for load in found.loads if load != PACE]
    own = [each for load in clients if (each := found.of(row, load))]
    if not own:
        return f"* {titles[row]}, {row[1]}: failed"
    rates = ", ".join(f"{each.rate:,.0f}" for each in own)
    tails = ", ".join(f"{each.p99_ms:.2f}" for each in own)
    return f"* {titles[row]}, {row[1]}: {rates} requests/s, p99 {tails} ms"


def verdicts(found: Medians, servers: Sequence[Server]) -> list[str]:
    """Return what is promised of `/score`, each beside the peer that comes closest."""
    names = {server.key: server.name for server in servers}
    peers = [row for row in found.rows if names[row[0]] not in (REPERTORY, _FLOOR)]
    clients = [load for load in found.loads if load != PACE]
    lines: list[str] = []
    if not peers or found.of(_SCORE, clients[0]) is None:
        return lines
    for load in clients:
        if load != "1":
            lines.append(_ahead(found, peers, load, "requests/s", lambda r: -r.rate))
        lines.append(_ahead(found, peers, load, "p99 ms", lambda r: r.p99_ms))
    lines.append(_ahead(found, peers, clients[-1], "MB of the largest", lambda r: r.largest_mb))
    floor, own = found.of((_FLOOR, "`/predict`"), "1"), found.of(_SCORE, "1")
    if floor and own:
        times = own.p50_ms / floor.p50_ms
        lines.append(
            f"{_yes(times <= _FLOOR_TIMES)} p50 of one client: {times:.2f} times FastAPI's"
        )
    return lines


def _ahead(found: Medians, peers: Sequence[Row], load: str, what: str, value: Value) -> str:
    own = found.of(_SCORE, load)
    others = {row: value(each) for row in peers if (each := found.of(row, load))}
    if own is None or not others:
        return f"?? {what}, {load} clients: nothing to compare"
    closest = min(others, key=others.__getitem__)
    mine, theirs = abs(value(own)), abs(others[closest])
    held = value(own) < others[closest]
    beside = f"{closest[0]} {closest[1]} {theirs:,.2f}"
    return f"{_yes(held)} {what}, {load} clients: /score {mine:,.2f}, {beside}"


def _yes(held: bool) -> str:
    return "ok" if held else "NO"


def _part(found: Medians, row: Row, load: str) -> str:
    own, score = found.of(row, load), found.of(_SCORE, load)
    return f"{own.rate / score.rate:.2f}" if own and score else ""


def _cell(result: Result | None, value: Value, form: str) -> str:
    return "failed" if result is None else form.format(value(result))


def _head(headings: Sequence[str], *, left: int) -> list[str]:
    return [_line(headings), f"|{'---|' * left}{'---:|' * (len(headings) - left)}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
