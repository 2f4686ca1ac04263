"""The `repertory` command."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson
import yaml
from rich.console import Console
from rich.table import Table

from repertory import __version__
from repertory.config import ClusterConfig, load_config
from repertory.errors import RepertoryError

EMBEDDED_BROKER = "127.0.0.1:9092"

console = Console()


class _Group(click.Group):
    """Ends with the message, and no traceback, when Repertory says what is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RepertoryError as error:
            raise click.ClickException(str(error)) from error


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="cluster.yaml",
    envvar="REPERTORY_CONFIG",
    show_default=True,
    help="The cluster's description.",
)
url_option = click.option(
    "--url",
    default="http://127.0.0.1:5500",
    envvar="REPERTORY_URL",
    show_default=True,
    help="HTTP address of any node.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="repertory")
def main() -> None:
    r"""Serve machine-learning models inside a stream, with actors.

    Records and models both arrive as data, over Kafka or HTTP. Start a node, publish a model to
    it, score something:

    \b
      repertory up --broker embedded
      repertory publish wine examples/wine/models/02-random-forest.onnx
      repertory score wine examples/wine/data/winequality-red.csv --limit 3
      repertory status
    """


@main.command()
@config_option
@click.option("--node", default="a", show_default=True, help="Which host of cluster.yaml this is.")
@click.option(
    "--broker",
    metavar="embedded|HOST:PORT",
    help=f"Kafka brokers to use; `embedded` starts the development broker at {EMBEDDED_BROKER}.",
)
def up(config_path: Path, node: str, broker: str | None) -> None:
    """Start this host's share of the cluster, and serve until Ctrl-C or SIGTERM."""
    from repertory.actors.logs import set_up_logging
    from repertory.actors.node import Node

    embedded = broker == "embedded"
    if broker is not None and not embedded:
        os.environ["REPERTORY_KAFKA__BOOTSTRAP_SERVERS"] = broker
    elif embedded:
        # The faces read it, too; an address from cluster.yaml or the environment is kept.
        configured = load_config(config_path).kafka.bootstrap_servers
        os.environ["REPERTORY_KAFKA__BOOTSTRAP_SERVERS"] = configured or EMBEDDED_BROKER
    config = load_config(config_path)
    set_up_logging(config.log_level)
    _refuse_taken_ports(config, embedded=embedded)
    supervisor = Node(config, node, config_path, embedded_broker=embedded)
    asyncio.run(_until_signalled(supervisor.run))


async def _until_signalled(body: Callable[[asyncio.Event], Any]) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await body(stop)


def _refuse_taken_ports(config: ClusterConfig, *, embedded: bool) -> None:
    wanted = [("http.port", config.http.host, config.http.port)] if config.http.enabled else []
    if embedded:
        host, _, port = (config.kafka.bootstrap_servers or "").rpartition(":")
        wanted.append(("kafka.bootstrap_servers", host, int(port)))
    for key, address, number in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, number))
            except OSError as error:
                raise click.ClickException(
                    f"{key}: {address}:{number} cannot be listened on: {error.strerror}; "
                    "stop what listens there, or choose another port in cluster.yaml"
                ) from error


@main.command()
@url_option
@click.argument("data_type")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the model; that of the file if absent.")
@click.option("--description", default="", help="A sentence about the model.")
@click.option(
    "--type", "model_type", help="ONNX, PMML, TENSORFLOW, …; told from the content if absent."
)
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Publish to Kafka instead of HTTP.")
@click.option("--topic", default="models", show_default=True, help="Topic, with --kafka.")
def publish(
    url: str,
    data_type: str,
    file: Path,
    name: str | None,
    description: str,
    model_type: str | None,
    brokers: str | None,
    topic: str,
) -> None:
    """Publish the model in FILE for DATA_TYPE, and wait until it serves or is rejected.

    Over Kafka, it is not waited for: `repertory versions` tells what became of it.
    """
    fields = {
        "dataType": data_type,
        "name": name or file.name.partition(".")[0],
        "description": description or None,
        "modelType": model_type,
    }
    if brokers is not None:
        from repertory.streams.publish import publish_model

        publish_model(file, bootstrap_servers=brokers, topic=topic, **_descriptor(fields))
        console.print(f"published to {topic} at {brokers}")
        return
    from repertory.http.caller import upload

    answer = asyncio.run(upload(url, file, {key: each for key, each in fields.items() if each}))
    if answer.get("state") == "REJECTED" or "error" in answer:
        raise click.ClickException(str(answer.get("reason") or answer.get("error")))
    console.print(f"[green]{answer['state']}[/] {answer['name']} version {answer['version']}")


def _descriptor(fields: dict[str, str | None]) -> dict[str, str | None]:
    return {
        "data_type": fields["dataType"],
        "name": fields["name"],
        "description": fields["description"],
        "model_type": fields["modelType"],
    }


@main.command()
@url_option
@click.argument("data_type")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--limit", type=click.IntRange(min=1), help="Score only the first records.")
def score(url: str, data_type: str, file: Any, limit: int | None) -> None:
    """Score the records of FILE (CSV with a header, or JSON lines; `-` is standard input).

    Prints one line of JSON for each record, in order.
    """
    from repertory.http.caller import call
    from repertory.records_file import parse_records

    records = parse_records(file.read())[:limit]
    answer = asyncio.run(call(url, "POST", f"/score/{data_type}", {"records": records}))
    for result in answer["results"]:
        click.echo(orjson.dumps({"model": answer["model"], **result}))


@main.command()
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def status(url: str, as_json: bool) -> None:
    """Show what a node serves, since when, how often and how fast."""
    from repertory.http.caller import call

    found = asyncio.run(_status(url, call))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    ready = "[green]ready[/]" if found["ready"] else "[red]not ready[/]"
    console.print(f"node [bold]{found['node']}[/] is {ready}")
    table = Table("data type", "model", "version", "usage", "errors", "p50 ms", "p99 ms")
    for name, state in found["states"].items():
        if "error" in state:
            table.add_row(name, f"[red]{state['error']}[/]")
            continue
        percentiles = state["percentiles"]
        table.add_row(
            name,
            state["name"],
            str(state["version"]),
            f"{state['usage']:,}",
            f"{state['errors']:,}",
            f"{percentiles['p50']:.2f}",
            f"{percentiles['p99']:.2f}",
        )
    console.print(table)


async def _status(url: str, call: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = await call(url, "GET", "/status")
    found["states"] = {}
    for name in found["data_types"]:
        try:
            found["states"][name] = await call(url, "GET", f"/state/{name}")
        except RepertoryError as error:
            found["states"][name] = {"error": str(error)}
    return found


@main.command()
@url_option
@click.argument("data_type")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def versions(url: str, data_type: str, as_json: bool) -> None:
    """List all versions of DATA_TYPE's model, with their states and reasons."""
    from repertory.http.caller import call

    found = asyncio.run(call(url, "GET", f"/models/{data_type}/versions"))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    table = Table("version", "state", "name", "type", "sha256", "reason")
    for each in found["versions"]:
        table.add_row(
            str(each["version"]),
            each["state"],
            each["name"],
            each["modelType"],
            each["sha256"][:12],
            each["reason"],
        )
    console.print(table)


@main.command()
@url_option
@click.argument("data_type")
@click.argument("version", type=int)
def rollback(url: str, data_type: str, version: int) -> None:
    """Serve VERSION of DATA_TYPE's model again."""
    from repertory.http.caller import call

    answer = asyncio.run(call(url, "POST", f"/models/{data_type}/rollback", {"version": version}))
    console.print(f"[green]{answer['state']}[/] {answer['name']} version {answer['version']}")


@main.command()
@config_option
def config(config_path: Path) -> None:
    """Print the configuration that is in force, secrets masked."""
    found = load_config(config_path).model_dump(mode="json")
    click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)


@main.command()
@config_option
def doctor(config_path: Path) -> None:
    """Check the installation: engines, folders, ports, broker."""
    from repertory.doctor import examine

    failed = False
    for finding in examine(config_path):
        mark = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]"}.get(
            finding.level, "[red]failed[/]"
        )
        console.print(f"{mark:>9}  {finding.what}: {finding.found}")
        if finding.mend:
            console.print(f"           [dim]{finding.mend}[/]")
        failed |= finding.level == "failed"
    sys.exit(1 if failed else 0)
