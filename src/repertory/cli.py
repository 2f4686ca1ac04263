"""The `repertory` command."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from repertory import __version__
from repertory.config import ClusterConfig, load_config
from repertory.errors import RepertoryError

EMBEDDED_BROKER = "127.0.0.1:9092"
SCORE_AT_ONCE = 1000  # records in one request of `repertory score`

T = TypeVar("T")

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


async def _until_signalled(body: Callable[[asyncio.Event], Awaitable[T]]) -> T:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    return await body(stop)


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
    name = name or file.name.partition(".")[0]
    if brokers is not None:
        from repertory.streams.publish import publish_model

        publish_model(
            file,
            bootstrap_servers=brokers,
            topic=topic,
            data_type=data_type,
            name=name,
            description=description,
            model_type=model_type,
        )
        console.print(f"published to {topic} at {brokers}")
        return
    from repertory.http.caller import upload

    fields = {"dataType": data_type, "name": name, "description": description}
    fields |= {"modelType": model_type} if model_type else {}
    answer = asyncio.run(upload(url, file, fields))
    if answer.get("state") == "REJECTED" or "error" in answer:
        raise click.ClickException(str(answer.get("reason") or answer.get("error")))
    console.print(f"[green]{answer['state']}[/] {answer['name']} version {answer['version']}")


@main.command()
@url_option
@click.argument("data_type")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), help="Score only the first records.")
def score(url: str, data_type: str, file: Path, limit: int | None) -> None:
    """Score the records of FILE (CSV with a header, JSON lines, or Parquet).

    Prints one line of JSON for each record, in order, with the model version that scored it.
    """
    from repertory.http.caller import call
    from repertory.streams.tables import read_rows

    rows = itertools.islice(read_rows(file), limit)
    while records := [_with_numbers(row) for row in itertools.islice(rows, SCORE_AT_ONCE)]:
        answer = asyncio.run(call(url, "POST", f"/score/{data_type}", {"records": records}))
        for result in answer["results"]:
            click.echo(orjson.dumps({"model": answer["model"], **result}))


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of CSV, which holds texts, with its numbers as such; empty cells are missing."""
    return {column: _number(value) for column, value in row.items() if value != ""}


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


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
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--topic", default="mdata", show_default=True, help="Topic to send to.")
@click.option("--data-type", default="wine", show_default=True, help="What the records are.")
@click.option(
    "--kafka",
    "brokers",
    metavar="HOST:PORT",
    help=f"Brokers; those of cluster.yaml, or else {EMBEDDED_BROKER}, if absent.",
)
@click.option("--rate", type=float, help="Records a second; as fast as possible if absent.")
@click.option("--key", help="Column that gives the key; the row's number if absent.")
@click.option(
    "--ignore", multiple=True, default=("quality",), show_default=True, help="Columns to leave out."
)
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def replay(
    config_path: Path, brokers: str | None, quiet: bool, data_type: str, **what: Any
) -> None:
    """Send the rows of FILE (CSV, JSON lines or Parquet) to Kafka, as records, at a steady rate."""
    from repertory.streams.replay import Progress as Counts
    from repertory.streams.replay import Replay
    from repertory.streams.replay import replay as send

    found = load_config(config_path)
    if data_type not in found.data_types:
        known = ", ".join(found.data_types)
        raise click.ClickException(
            f"no data type {data_type!r} in {config_path}; there are: {known}"
        )
    servers = brokers or found.kafka.bootstrap_servers or EMBEDDED_BROKER
    kafka = found.kafka.model_copy(update={"bootstrap_servers": servers})
    with _progress_bar(disable=quiet) as bar:
        task = bar.add_task(f"to {what['topic']}", total=None)

        def show(counts: Counts) -> None:
            bar.update(task, completed=counts.sent, total=counts.total)

        async def body(stop: asyncio.Event) -> Counts:
            wanted = Replay(data_type=data_type, **what)
            return await send(
                wanted, kafka=kafka, data_type=found.data_types[data_type], progress=show, stop=stop
            )

        counts = asyncio.run(_until_signalled(body))
    console.print(
        f"{counts.acknowledged:,} records in {counts.seconds:.1f} s, {counts.rate:,.0f}/s"
    )


def _progress_bar(*, disable: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TextColumn("records"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, disable=disable)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=9092, show_default=True, help="Port; 0: any free one.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data here; in a temporary folder if absent.",
)
@click.option("--durable", is_flag=True, help="Wait for the disk before acknowledging.")
def broker(host: str, port: int, data_dir: Path | None, durable: bool) -> None:
    """Run the embedded broker: one node that speaks Kafka's protocol, for development only."""
    from repertory.streams.devbroker.broker import DevBroker, run
    from repertory.streams.devbroker.settings import BrokerSettings

    def announce(started: DevBroker) -> None:
        where = f"listening on {started.bootstrap_servers}"
        console.print(f"{where}: a single node for development, not for production")

    settings = BrokerSettings(host=host, port=port, data_dir=data_dir, durable=durable)
    asyncio.run(run(settings, announce))


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
