"""The commands about records: score, replay."""

import asyncio
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from repertory.cli_options import (
    EMBEDDED_BROKER,
    config_option,
    until_signalled,
    url_option,
)
from repertory.config import ClusterConfig, load_config
from repertory.errors import InvalidRequest, Unavailable

AT_ONCE = 1000  # records in one request of `repertory score`


@click.command(short_help="Score the records of a file, over HTTP.")
@url_option
@click.argument("data_type")
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--limit", type=click.IntRange(min=1), help="Score only the first records.")
def score(url: str, data_type: str, file: Path, limit: int | None) -> None:
    """Score the records of FILE: CSV with a header, JSON lines or Parquet, as its name tells.

    With - for FILE, CSV or JSON lines are read from standard input.

    Prints one line of JSON for each record, in order, with the model version that scored it. Where
    a record could not be scored, the line says why; the exit code then is 1.
    """
    from repertory.http.caller import call, path
    from repertory.streams.tables import read_rows

    count = failed = 0
    with _opened(file) as readable:
        rows = itertools.islice(read_rows(readable), limit)
        while records := [_with_numbers(row) for row in itertools.islice(rows, AT_ONCE)]:
            target = path("score", data_type)
            answer = asyncio.run(call(url, "POST", target, {"records": records}))
            for result in answer["results"]:
                click.echo(orjson.dumps({"model": answer["model"], **result}))
                count, failed = count + 1, failed + ("error" in result)
    if not count:
        raise click.ClickException(
            f"{'standard input' if str(file) == '-' else file} has no records"
        )
    if failed:
        raise click.ClickException(f"{failed:,} of {count:,} records could not be scored")


@contextmanager
def _opened(file: Path) -> Iterator[Path]:
    """Yield the file; in place of `-` one that holds what standard input did."""
    if str(file) != "-":
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        head = sys.stdin.buffer.readline()
        ending = "jsonl" if head.lstrip().startswith(b"{") else "csv"
        spooled = Path(folder) / f"standard input.{ending}"
        with spooled.open("wb") as copy:
            copy.write(head)
            shutil.copyfileobj(sys.stdin.buffer, copy)
        try:
            yield spooled
        except InvalidRequest as error:
            raise InvalidRequest(str(error).replace(str(spooled), "standard input")) from error


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of CSV, which holds texts, with its numbers as such; empty cells are missing."""
    return {column: _number(value) for column, value in row.items() if value != ""}


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@click.command(short_help="Send the rows of a file to Kafka as records, at a steady rate.")
@config_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data-type", help="What the records are; may be left out if there is only one.")
@click.option("--topic", help="Topic to send to; the data type's first if absent.")
@click.option(
    "--kafka",
    "brokers",
    metavar="HOST:PORT",
    help=f"Brokers; those of cluster.yaml, or else {EMBEDDED_BROKER}, if absent.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NUMBER",
    help="Records a second; as fast as possible if absent.",
)
@click.option("--key", help="Column that gives the key; the row's number if absent.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="COLUMN",
    default=("quality",),
    show_default=True,
    help="Column to leave out; can be said several times.",
)
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def replay(
    config_path: Path,
    data_type: str | None,
    topic: str | None,
    brokers: str | None,
    quiet: bool,
    **what: Any,
) -> None:
    """Send the rows of FILE to Kafka as records, at a steady rate, until Ctrl-C.

    FILE is CSV with a header, JSON lines or Parquet. Its columns are fields of the data type's
    message.
    """
    from repertory.streams.replay import Progress as Counts
    from repertory.streams.replay import Replay
    from repertory.streams.replay import replay as send

    found = load_config(config_path)
    data_type = data_type or _only_data_type(found)
    topic = topic or _first_topic(found, data_type)
    servers = brokers or found.kafka.bootstrap_servers or EMBEDDED_BROKER
    kafka = found.kafka.model_copy(update={"bootstrap_servers": servers})
    with _progress_bar(disable=quiet) as bar:
        task = bar.add_task(f"to {topic}", total=None)

        def show(counts: Counts) -> None:
            bar.update(task, completed=counts.acknowledged, total=counts.total)

        async def body(stop: asyncio.Event) -> Counts:
            wanted = Replay(data_type=data_type, topic=topic, **what)
            declared = found.data_types[data_type]
            return await send(wanted, kafka=kafka, data_type=declared, progress=show, stop=stop)

        try:
            counts = asyncio.run(until_signalled(body))
        except Unavailable as error:
            raise click.ClickException(f"{servers}: {error}") from error
    click.echo(
        f"{counts.acknowledged:,} records to {topic} at {servers} "
        f"in {counts.seconds:.1f} s, {counts.rate:,.0f}/s"
    )


def _only_data_type(config: ClusterConfig) -> str:
    if len(config.data_types) > 1:
        known = ", ".join(config.data_types)
        raise click.UsageError(f"there are several data types: say --data-type, one of {known}")
    return next(iter(config.data_types))


def _first_topic(config: ClusterConfig, data_type: str) -> str:
    if data_type not in config.data_types:
        known = ", ".join(config.data_types)
        raise click.UsageError(f"no data type {data_type!r} is declared; there are: {known}")
    topics = config.data_types[data_type].topics
    if not topics:
        raise click.UsageError(f"data_types.{data_type}.topics is empty: say --topic")
    return topics[0]


def _progress_bar(*, disable: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeElapsedColumn(),
    )
    target = Console(stderr=True)  # a file gets no bar
    return Progress(*columns, console=target, disable=disable or not target.is_terminal)
