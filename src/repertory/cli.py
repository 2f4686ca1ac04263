"""The `repertory` command."""

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from repertory import __version__
from repertory.cli_certs import certs
from repertory.cli_cluster import cluster, top
from repertory.cli_compare import compare
from repertory.cli_dead_letters import dead_letters
from repertory.cli_models import publish, retire, rollback, versions
from repertory.cli_node import broker, status, up
from repertory.cli_options import EMBEDDED_BROKER, config_option
from repertory.cli_policy import policy
from repertory.cli_records import replay, score
from repertory.cli_sign import sign
from repertory.cli_token import token
from repertory.config import load_config
from repertory.errors import RepertoryError

__all__ = ["EMBEDDED_BROKER", "main"]


class _Group(click.Group):
    """Ends with the message, and no traceback, when Repertory says what is wrong.

    Lists its commands in the order in which they are wanted.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RepertoryError as error:
            raise click.ClickException(str(error)) from error

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="repertory", message="%(prog)s %(version)s")
def main() -> None:
    """Serve machine-learning models inside a stream, with actors.

    Records and models both arrive as data, over Kafka or HTTP. Start a node, publish a model to
    it, score something:

    \b
      repertory up --broker embedded
      repertory publish wine examples/wine/models/02-random-forest.onnx
      repertory score wine examples/wine/data/winequality-red.csv --limit 3
      repertory status
    """  # noqa: D301 - click's mark for lines that are not to be joined


@click.command(short_help="Print the configuration that is in force.")
@config_option
@click.option("--reference", is_flag=True, help="Print every key, its default and its meaning.")
def config(config_path: Path, reference: bool) -> None:
    """Print the configuration that is in force, secrets masked.

    It is read from cluster.yaml; a REPERTORY_ variable overrides each key, with __ between levels:
    REPERTORY_HTTP__PORT=8080.
    """
    if reference:
        from repertory.config_reference import reference as table

        click.echo(table(), nl=False)
        return
    found = load_config(config_path).model_dump(mode="json")
    click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)


@click.command(short_help="Check the installation: engines, folders, ports, broker.")
@config_option
def doctor(config_path: Path) -> None:
    """Check the installation: engines, folders, ports, broker. Changes nothing.

    The exit code is 1 when something that is needed failed.
    """
    from repertory.doctor import examine

    colours = {"ok": "green", "warning": "yellow", "failed": "red"}
    failed = False
    for finding in examine(config_path):
        mark = click.style(f"{finding.level:>7}", fg=colours[finding.level])
        click.echo(f"{mark}  {finding.what}: {finding.found}")
        if finding.mend:
            click.echo(f"         {finding.mend}")
        failed |= finding.level == "failed"
    sys.exit(1 if failed else 0)


for command in (
    *(
        up,
        publish,
        score,
        status,
        cluster,
        top,
        versions,
        rollback,
        retire,
        policy,
        compare,
        replay,
        dead_letters,
    ),
    *(broker, certs, token, sign, config, doctor),
):
    main.add_command(command)
