"""What the commands share: options, output, and how they end on a signal."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from rich.console import Console

EMBEDDED_BROKER = "127.0.0.1:9092"

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal what is waited for; it is gone at the end. A file gets nothing of it."""
    with Console(stderr=True).status(what):
        yield


def say(message: str) -> None:
    """Print what was done, in green what comes before the first space."""
    head, _, rest = message.partition(" ")
    click.echo(f"{click.style(head, fg='green')} {rest}")


def print_json(found: Any) -> None:
    """Print JSON, for programs."""
    click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))


async def until_signalled(body: Callable[[asyncio.Event], Awaitable[T]]) -> T:
    """Run `body` with an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return await body(stop)


def moment_ms(text: str) -> int:
    """Return a moment in milliseconds: how long ago (`90s`, `15m`, …), or one in ISO 8601."""
    if ago := re.fullmatch(r"(\d{1,9})([smhdw])", text):
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{text!r} is neither a time such as 90s, 15m, 1h, 2d, 1w nor a moment such as"
            " 2026-11-23T07:00"
        ) from error


def _node_url(_: click.Context, __: click.Parameter, value: str) -> str:
    from repertory.http.caller import node_url

    try:
        return node_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _keep_token(_: click.Context, __: click.Parameter, value: str | None) -> None:
    """Put the token where `repertory.http.caller` finds it; `@FILE` has it read from a file."""
    if value and value.startswith("@"):
        try:
            value = Path(value[1:]).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{value[1:]}: cannot be read: {error}") from error
    if value:
        os.environ["REPERTORY_TOKEN"] = value


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="cluster.yaml",
    envvar="REPERTORY_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The cluster's description.",
)
_url_option = click.option(
    "--url",
    default="http://127.0.0.1:5500",
    envvar="REPERTORY_URL",
    show_default=True,
    show_envvar=True,
    callback=_node_url,
    help="HTTP address of the node.",
)
_token_option = click.option(
    "--token",
    metavar="TOKEN|@FILE",
    envvar="REPERTORY_TOKEN",
    show_envvar=True,
    expose_value=False,
    callback=_keep_token,
    help="Token of `repertory token create`. Others on this host see what a command line says:"
    " better name a file, or set the variable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def url_option(command: Command) -> Command:
    """Add what all commands need that call a node: its address, and a token."""
    return _url_option(_token_option(command))
