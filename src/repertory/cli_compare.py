"""The command about how models differ: compare."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from repertory.cli_options import json_option, print_json, url_option

_NUMBERS = frozenset({"records", "agree", "differ, 5 min", "p50", "p99"})


@click.command(short_help="Show how far the models of a data type agree.")
@url_option
@click.argument("data_type")
@click.option("--confusion", is_flag=True, help="Show also which labels are taken for which.")
@json_option
def compare(url: str, data_type: str, confusion: bool, as_json: bool) -> None:
    """Show how far the models of DATA_TYPE agree on what both scored, pair by pair.

    Counts since the policy is in force, and the share on which they differed in the last five
    minutes. p50 and p99 say how far apart they are: in values, or in probabilities (0: the same,
    1: nothing in common).
    """
    from repertory.cli_tables import stale
    from repertory.http.caller import call, path

    found = asyncio.run(call(url, "GET", path("compare", data_type)))
    if as_json:
        print_json(found)
    elif not found["pairs"]:
        click.echo(f"the policy of {data_type} has one slot: there is nothing to compare")
    else:
        show_comparison(found["pairs"], confusion=confusion)
        if found.get("stale"):
            click.secho(stale(found), fg="yellow")


def show_comparison(pairs: list[dict[str, Any]], *, confusion: bool) -> None:
    """Print pairs of slots as a table, and below it the labels that they give."""
    from repertory.cli_tables import echo_table

    header = ("slots", "records", "agree", "differ, 5 min", "p50", "p99", "apart in")
    echo_table(header, [_cells(pair) for pair in pairs], numbers=_NUMBERS)
    for pair in pairs if confusion else ():
        if "confusion" in pair:
            _show_confusion(pair["slots"], pair["confusion"])


def _cells(pair: dict[str, Any]) -> tuple[str, ...]:
    apart = pair["differences"]
    return (
        " / ".join(map(_slot, pair["slots"])),
        f"{pair['records']:,}",
        _rate(pair["agreementRate"]),
        _rate(pair["disagreement"]["last5m"]),
        *(
            ("-", "-", "-")
            if apart is None
            else (_far(apart["p50"]), _far(apart["p99"]), apart["of"])
        ),
    )


def _show_confusion(slots: Sequence[str], table: dict[str, dict[str, int]]) -> None:
    from repertory.cli_tables import echo_table

    click.echo()
    columns = sorted({label for row in table.values() for label in row})
    header = (" \\ ".join(map(_slot, slots)), *columns)
    rows = [
        (label, *(f"{row[column]:,}" if column in row else "·" for column in columns))
        for label, row in table.items()
    ]
    echo_table(header, rows, numbers=set(columns))


def _slot(name: str) -> str:
    return name or "(no name)"


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"


def _far(difference: float) -> str:
    return f"{difference:.4g}"
