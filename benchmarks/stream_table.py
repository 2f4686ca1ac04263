"""Results as a table. Pure."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.stream_trial import Result

LIMIT = "limit"
"""The contender that the others are compared with."""

_HEADINGS = (
    "contender",
    "guarantee",
    "records/s",
    "of the limit",
    "p50 ms",
    "p99 ms",
    "CPU s/100k",
    "broker CPU s/100k",
    "peak MB",
)

Titles = Mapping[str, tuple[str, str]]
"""Title and guarantee of each contender, by name."""


def markdown(results: Sequence[Result], workload: str, titles: Titles) -> list[str]:
    """Return the lines of a workload's table: medians, and in brackets the least and the most."""
    of_workload = [result for result in results if result.workload == workload]
    limit = _values(of_workload, LIMIT, lambda result: result.rate)
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|---|---|{'---:|' * (len(_HEADINGS) - 2)}"]
    for name, (title, guarantee) in titles.items():
        own = [result for result in of_workload if result.contender == name]
        if not own:
            continue
        cells = _cells(own, statistics.median(limit) if limit else math.nan)
        lines.append(f"| {title} | {guarantee} | {' | '.join(cells)} |")
    return lines


def _cells(own: Sequence[Result], limit: float) -> list[str]:
    good = [result for result in own if result.failure is None]
    if not good:
        return ["failed", *[""] * (len(_HEADINGS) - 3)]
    rates = [result.rate for result in good]
    part = statistics.median(rates) / limit
    return [
        _spread(rates, "{:,.0f}"),
        "" if math.isnan(part) else f"{part:.0%}",
        _spread([result.p50_ms for result in good], "{:,.1f}"),
        _spread([result.p99_ms for result in good], "{:,.1f}"),
        _spread([result.cpu_per_100k for result in good], "{:.2f}"),
        _spread([result.broker_cpu_per_100k for result in good], "{:.2f}"),
        _spread([result.peak_mb for result in good], "{:,.0f}"),
    ]


def _spread(values: Sequence[float | None], form: str) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    middle = form.format(statistics.median(numbers))
    if len(numbers) == 1:
        return middle
    return f"{middle} ({form.format(min(numbers))}–{form.format(max(numbers))})"


def _values(
    results: Sequence[Result], contender: str, value: Callable[[Result], float]
) -> list[float]:
    return [value(r) for r in results if r.contender == contender and r.failure is None]
