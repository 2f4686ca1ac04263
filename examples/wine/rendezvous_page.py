"""What `make rendezvous` draws of a policy: from what the node answers to tables."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repertory.actors.policies.kinds import CanaryOptions

Json = dict[str, Any]


def page(state: Json, settings: Json, pairs: Sequence[Json]) -> RenderableType:
    """Draw the policy's part of `/state`, and what `/compare` says of pairs of slots."""
    parts: list[RenderableType] = [_slots(state), Text(_times(state))]
    if state["trial"] is not None:
        parts.append(_trial(state["trial"], settings["options"]))
    elif state["name"] == "majority":
        parts.append(_agreement(pairs))
    return Group(*parts)


def in_a_line(state: Json) -> str:
    """Tell the policy's part of `/state` in a line."""
    choices = ", ".join(
        f"{slot} {_part(count, state['usage'])}" for slot, count in state["choices"].items()
    )
    return f"answers: {choices}; {_times(state)}"


def history(policies: Sequence[Json]) -> Table:
    """Draw what became of policies."""
    table = Table("version", "policy", "slots", "since", "state", "why")
    for each in policies:
        colour = "green" if each["state"] == "IN_FORCE" else "default"
        table.add_row(
            str(each["version"]),
            each["policy"],
            ", ".join(each["settings"]["slots"]),
            time.strftime("%H:%M:%S", time.localtime(each["published"] / 1000)),
            f"[{colour}]{each['state']}[/]",
            Text(each["description"] or "set by hand"),
        )
    return table


def _slots(state: Json) -> Table:
    names = ("slot", "answers", "share", "batches", "in time", "late", "failed", "not needed")
    table = Table(title=f"{state['name']}, version {state['version']}", title_justify="left")
    for name in names:
        table.add_column(name, justify="left" if name == "slot" else "right")
    for slot, counts in state["slots"].items():
        chosen = state["choices"].get(slot)
        table.add_row(
            f"[bold]{slot}[/]",
            "shadow" if chosen is None else f"{chosen:,}",
            "" if chosen is None else _part(chosen, state["usage"]),
            *(f"{counts[name]:,}" for name in ("asked", "arrived", "late", "failed", "notNeeded")),
        )
    return table


def _times(state: Json) -> str:
    percentiles, slack = state["percentiles"], state["slack"]
    text = f"p50 {percentiles['p50']:.1f} ms, p99 {percentiles['p99']:.1f} ms"
    text += f"; fallbacks {_part(state['fallbacks'], state['usage'])}"
    if slack is not None and state["name"] == "deadline":
        text += f"; left of {state['timeout']:g} ms: {slack['p50']:.1f} ms (p50)"
    return text + f"; errors {state['errors']:,}"


def _agreement(pairs: Sequence[Json]) -> Table:
    table = Table("pair", "compared", "agree")
    for each in pairs:
        table.add_row(
            " / ".join(each["slots"]),
            f"{each['records']:,}",
            _part(each["agreements"], each["records"]),
        )
    return table


def _trial(trial: Json, options: Json) -> Table:
    limits = CanaryOptions.model_validate(options).limits()
    table = Table("the canary's trial", "so far", "limit")
    for row in (
        ("seconds", f"{trial['seconds']:.0f}", f"promoted after {limits.window_seconds:g}"),
        ("its records", f"{trial['records']:,}", f"no verdict before {limits.records:,}"),
        ("errors", _part(trial["errors"], trial["records"]), percent(limits.error_rate)),
        (
            "differs from the reference",
            _part(trial["disagreements"], trial["compared"]),
            percent(limits.disagreement_rate),
        ),
        ("p99", *_p99(trial["p99"], trial["referenceP99"], limits.p99_ratio)),
    ):
        table.add_row(*row)
    return table


def _p99(mine: float | None, other: float | None, ratio: float) -> tuple[str, str]:
    if mine is None or other is None:
        return "-", "-"
    return f"{mine:.1f} ms", f"{ratio:g} × the reference's {other:.1f} ms"


def percent(part: float) -> str:
    """Write a part of 1 in percent, such as 2.5 % or 30 %."""
    return f"{100 * part:g} %"


def _part(part: int, whole: int) -> str:
    return f"{part / whole:.1%}".replace("%", " %") if whole else "-"
