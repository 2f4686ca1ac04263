"""The tables that commands print, for people."""

import time
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from repertory.cli_options import console

DIGEST_CHARACTERS = 12
_COLOURS = {"SERVING": "green", "REJECTED": "red", "RETIRED": "dim"}


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ignore")
    return table


def show_versions(versions: list[dict[str, Any]]) -> None:
    """Print the versions of a data type's model; below the table why some were rejected."""
    table = _table("version", "state", "name", "type", "sha256", "published", right=("version",))
    for each in versions:
        table.add_row(
            str(each["version"]),
            Text(each["state"], style=_COLOURS.get(each["state"], "yellow")),
            each["name"],
            each["modelType"],
            each["sha256"][:DIGEST_CHARACTERS],
            moment(each["published"]),
        )
    console().print(table, crop=False)
    for each in versions:
        if each["state"] == "REJECTED":
            reason = Text(f"version {each['version']}: {each['reason']}", style="red")
            console().print(reason, soft_wrap=True)


def show_status(status: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    """Print what a node serves; for a data type without a model, why."""
    ready = "[green]ready[/]" if status["ready"] else "[red]not ready[/]"
    console().print(f"node [bold]{status['node']}[/] is {ready}")
    numbers = ("version", "usage", "errors", "p50 ms", "p99 ms")
    table = _table("data type", "model", *numbers[:1], "since", *numbers[1:], right=numbers)
    for name, state in states.items():
        if "error" not in state:
            table.add_row(name, *_state_cells(state))
    if table.row_count:
        console().print(table, crop=False)
    for name, state in states.items():
        if "error" in state:
            console().print(Text(f"{name}: {state['error']}", style="yellow"), soft_wrap=True)


def _state_cells(state: dict[str, Any]) -> tuple[str, ...]:
    percentiles = state["percentiles"]
    return (
        state["name"],
        str(state["version"]),
        moment(state["since"]),
        f"{state['usage']:,}",
        f"{state['errors']:,}",
        f"{percentiles['p50']:.2f}",
        f"{percentiles['p99']:.2f}",
    )


def moment(epoch_ms: int) -> str:
    """Return a moment in local time: the time of day if it is today, otherwise the day, too."""
    then, now = time.localtime(epoch_ms / 1000), time.localtime()
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)
