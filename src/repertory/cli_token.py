"""The command `token`: who may do what over HTTP."""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repertory.cli_options import config_option, json_option, print_json, say
from repertory.config import ClusterConfig, NodePaths, Role, load_config

if TYPE_CHECKING:
    from repertory.http.tokens import Token, TokenFile

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _lasts(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time such as 90m, 12h, 30d, 52w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group(short_help="Make, list and revoke tokens for the HTTP face.")
def token() -> None:
    """Make, list and revoke tokens for the HTTP face.

    They are kept, hashed, in a file (http.tokens_file), which running nodes read again when it has
    changed. As soon as there is one, nobody gets in without a token.
    """


@token.command(short_help="Make a token, and print it: this once.")
@config_option
@click.option(
    "--role",
    "roles",
    type=click.Choice(["read", "score", "publish", "admin"]),
    multiple=True,
    required=True,
    help="What it may do; may be given several times. Each one may read.",
)
@click.option(
    "--data-type",
    "data_types",
    multiple=True,
    help="For this data type; may be given several times. For all if absent.",
)
@click.option(
    "--expires", callback=_lasts, metavar="30d", help="It is valid for so long: m, h, d, w."
)
@click.option("--name", default="", help="What it is for; logs have it.")
def create(
    config_path: Path,
    roles: tuple[Role, ...],
    data_types: tuple[str, ...],
    *,
    expires: timedelta | None,
    name: str,
) -> None:
    """Make a token, and print it: it is shown this once, and kept hashed."""
    from repertory.http.tokens import make_token

    config = load_config(config_path)
    for each in data_types:
        if each not in config.data_types:
            there = ", ".join(config.data_types)
            raise click.BadParameter(f"--data-type: there is no {each!r}; there are: {there}")
    file = _file(config)
    if name and any(name == each.name for each in file.read()):
        raise click.BadParameter(f"--name: there is a token {name!r} already")
    first = not file.exists
    secret, kept = make_token(
        tuple(dict.fromkeys(roles)), name=name, data_types=data_types, lasts=expires
    )
    file.add(kept)
    click.echo(f"token {kept.id}, in {file.path}; it is shown this once:", err=True)
    click.echo(secret)
    if first:
        click.echo("from now on, nobody reaches these nodes over HTTP without a token", err=True)


@token.command("list", short_help="List the tokens.")
@config_option
@json_option
def list_tokens(config_path: Path, as_json: bool) -> None:
    """List the tokens: what they may do, and until when, but not the tokens themselves."""
    tokens = _file(load_config(config_path)).read()
    if as_json:
        print_json({"tokens": [_told(each) for each in tokens]})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "name", "roles", "data types", "created", "expires", box=None)
    for each in tokens:
        until = f"{each.expires:%Y-%m-%d %H:%M}Z" if each.expires else "never"
        row = (each.id, each.name, ", ".join(each.roles), ", ".join(each.data_types) or "all")
        ends = "expired" if each.expired else until
        table.add_row(*map(Text, (*row, f"{each.created:%Y-%m-%d %H:%M}Z", ends)))
    Console().print(table)


@token.command(short_help="Revoke a token.")
@config_option
@click.argument("which", metavar="ID|NAME")
def revoke(config_path: Path, which: str) -> None:
    """Revoke a token. Nodes that run refuse it from their next request on."""
    file = _file(load_config(config_path))
    gone = file.remove(which)
    if not gone:
        raise click.ClickException(
            f"{file.path} has no token {which!r}; see `repertory token list`"
        )
    for each in gone:
        say(f"revoked {each.id} {each.name}".rstrip())


def _file(config: ClusterConfig) -> "TokenFile":
    from repertory.http.tokens import TokenFile

    return TokenFile(NodePaths(config, next(iter(config.nodes))).tokens)


def _told(kept: "Token") -> dict[str, object]:
    return {"id": kept.id, **kept.model_dump(mode="json", exclude={"sha256"})}
