"""The commands about all nodes: cluster, top."""

import asyncio
from collections.abc import Collection
from typing import Any

import click
from rich.console import Console

from repertory.cli_options import json_option, print_json, until_signalled, url_option


@click.command(short_help="Show the nodes of the cluster, and who serves what.")
@url_option
@json_option
def cluster(url: str, as_json: bool) -> None:
    """Show the nodes of the cluster, and which of them own and serve each data type.

    It is what the node that is asked sees. A node is up, suspect (it missed some heartbeats),
    leaving, down, or unknown: not heard yet.
    """
    from repertory.http.caller import call

    found = asyncio.run(call(url, "GET", "/cluster"))
    if as_json:
        print_json(found)
    else:
        show_cluster(found)


def show_cluster(found: dict[str, Any]) -> None:
    """Print what a node says of its cluster."""
    from repertory.cli_cluster_sheets import headline, member_sheet, remarks, shard_sheet

    click.echo(headline(found))
    member_sheet(found).echo()
    click.echo()
    shard_sheet(found).echo()
    for sentence in remarks(found):
        click.secho(sentence, fg="yellow")


@click.command(short_help="Watch the nodes, data types, rates and latencies, live.")
@url_option
@click.argument("data_types", metavar="[DATA_TYPE]...", nargs=-1)
@click.option(
    "--every",
    type=click.FloatRange(min=0.2, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print the second look, and end.")
def top(url: str, data_types: tuple[str, ...], every: float, once: bool) -> None:
    """Watch the nodes, and DATA_TYPE or all: model, rates, latencies, lag. `q` ends it.

    Rates are of the time between two looks, over all nodes; p50 and p99 are since the model is on
    stage; lag is how many records on Kafka are not done yet. When the node that is asked goes
    away, another one is. What is no terminal gets plain text, once.
    """
    console = Console()
    live = not once and console.is_terminal and not console.is_dumb_terminal
    asyncio.run(
        until_signalled(
            lambda stop: _top(url, data_types, console if live else None, every=every, stop=stop)
        )
    )


async def _top(
    url: str,
    data_types: Collection[str],
    console: Console | None,
    *,
    every: float,
    stop: asyncio.Event,
) -> None:
    from repertory.cli_top_asking import PATIENCE_SECONDS, Watcher
    from repertory.cli_top_screen import Screen, until
    from repertory.http.caller import Caller

    async with Caller(PATIENCE_SECONDS) as caller:
        watcher = Watcher(caller, url, data_types)
        if console is not None:
            await Screen(watcher, console, every).show(stop)
            return
        before = await watcher.look()
        await until(stop, asyncio.sleep(every))
        show_top(await watcher.look(), before)


def show_top(look: Any, before: Any) -> None:
    """Print what is to be seen of two looks."""
    from repertory.cli_top_figures import headline, node_sheet, remarks, serving_sheet

    click.echo(headline(look, before))
    node_sheet(look).echo()
    click.echo()
    serving_sheet(look, before).echo()
    for sentence in remarks(look):
        click.secho(sentence, fg="yellow")
