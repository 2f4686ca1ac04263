"""The commands about records: score, replay."""

import asyncio
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from repertory.cli_options import (
    EMBEDDED_BROKER,
    config_option,
    moment_ms,
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
@click.option(
    "--explain", is_flag=True, help="Say what each slot answered, where a policy chooses."
)
def score(url: str, data_type: str, file: Path, limit: int | None, *, explain: bool) -> None:
    """Score the records of FILE: CSV with a header, JSON lines or Parquet, as its name tells.

    With - for FILE, CSV or JSON lines are read from standard input.

    Prints one line of JSON for each record, in order, with the model version that scored it, and
    where a policy chose that one, with the policy, the slot, and whether it is a fallback. Where a
    record could not be scored, the line says why; the exit code then is 1.
    """
    from repertory.http.caller import call, path
    from repertory.streams.tables import read_rows

    count = failed = 0
    with _opened(file) as readable:
        rows = itertools.islice(read_rows(readable), limit)
        while records := [_with_numbers(row) for row in itertools.islice(rows, AT_ONCE)]:
            target = path("score", data_type) + ("?explain=true" if explain else "")
            answer = asyncio.run(call(url, "POST", target, {"records": records}))
            for result in answer["results"]:
                click.echo(orjson.dumps({**made_by(answer), **result}))
                count, failed = count + 1, failed + ("error" in result)
    if not count:
        raise click.ClickException(
            f"{'standard input' if str(file) == '-' else file} has no records"
        )
    if failed:
        raise click.ClickException(f"{failed:,} of {count:,} records could not be scored")


def made_by(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what all results of an answer have in common: their model, or the policy that chose."""
    if "policy" not in answer:
        return {"model": answer["model"]}
    return {"policy": {key: answer["policy"][key] for key in ("name", "version")}}


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


@click.command(short_help="Replay a file to Kafka, or archived inputs to any version.")
@config_option
@click.argument("source", metavar="FILE|DATA_TYPE")
@click.option(
    "--from",
    "origin",
    type=click.Choice(["file", "decoy"]),
    default="file",
    show_default=True,
    help="Where the records are: in FILE, or in the archive of the decoys of DATA_TYPE.",
)
@click.option(
    "--data-type", help="File: what the records are; may be left out if there is only one."
)
@click.option("--topic", help="File: topic to send to; the data type's first if absent.")
@click.option(
    "--kafka",
    "brokers",
    metavar="HOST:PORT",
    help=f"File: brokers; those of cluster.yaml, or else {EMBEDDED_BROKER}, if absent.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NUMBER",
    help="File: records a second; as fast as possible if absent.",
)
@click.option("--key", help="File: column that gives the key; the row's number if absent.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="COLUMN",
    default=("quality",),
    show_default=True,
    help="File: column to leave out; can be said several times.",
)
@click.option("--loop", is_flag=True, help="File: begin again at the end, until Ctrl-C.")
@click.option(
    "--as-of",
    "as_of_ms",
    type=moment_ms,
    metavar="TIME",
    help="Decoy: only what was archived until then: 2026-11-23T07:00, 1h ago, …",
)
@click.option(
    "--since",
    "since_ms",
    type=moment_ms,
    metavar="TIME",
    help="Decoy: only what was archived since: 15m, 1h, 2d, …",
)
@click.option(
    "--model",
    metavar="NAME@VERSION",
    help="Decoy: the version that scores; for each input the one that answered it, if absent.",
)
@click.option(
    "--against",
    metavar="NAME@VERSION",
    default="answers",
    help="Decoy: compare with this version, and not with what was answered then.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Decoy: stop after so many inputs, or a few more."
)
@click.option("--node", help="Decoy: whose models and spool are used; the first node's if absent.")
@click.option("--json", "as_json", is_flag=True, help="Decoy: print JSON, for programs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def replay(
    context: click.Context,
    /,
    config_path: Path,
    source: str,
    origin: str,
    quiet: bool,
    **what: Any,
) -> None:
    """Send the rows of FILE to Kafka as records, at a steady rate, until Ctrl-C.

    FILE is CSV with a header, JSON lines or Parquet. Its columns are fields of the data type's
    message.

    With --from decoy, score the archived inputs of DATA_TYPE again, and compare. Without --model
    each is scored by the version that answered it, and must get the same answer: the exit code is 1
    when one does not.
    """
    _refuse_strangers(context, _DECOY_OPTIONS if origin == "file" else _FILE_OPTIONS, origin)
    bar = _progress_bar(disable=quiet)
    if origin == "decoy":
        from repertory.cli_decoy import Wanted, replay_decoy

        wanted = Wanted(source, **{name: what[name] for name in _DECOY_OPTIONS})
        replay_decoy(config_path, wanted, bar)
        return
    if not Path(source).is_file():
        raise click.UsageError(f"{source!r} is no file; with --from decoy it is a data type")
    wanted_options = {name: what[name] for name in _FILE_OPTIONS}
    _replay_file(load_config(config_path), Path(source), bar, **wanted_options)


_FILE_OPTIONS = ("data_type", "topic", "brokers", "rate", "key", "ignore", "loop")
_DECOY_OPTIONS = ("as_of_ms", "since_ms", "model", "against", "limit", "node", "as_json")


def _refuse_strangers(context: click.Context, names: Sequence[str], origin: str) -> None:
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if option.name in names and given:
            raise click.UsageError(f"{option.opts[0]} does not go with --from {origin}")


def _replay_file(
    config: ClusterConfig,
    file: Path,
    progress: Progress,
    *,
    data_type: str | None,
    topic: str | None,
    brokers: str | None,
    **what: Any,
) -> None:
    from repertory.streams.replay import Progress as Counts
    from repertory.streams.replay import Replay
    from repertory.streams.replay import replay as send

    data_type = data_type or _only_data_type(config)
    topic = topic or _first_topic(config, data_type)
    servers = brokers or config.kafka.bootstrap_servers or EMBEDDED_BROKER
    kafka = config.kafka.model_copy(update={"bootstrap_servers": servers})
    with progress as bar:
        task = bar.add_task(f"to {topic}", total=None)

        def show(counts: Counts) -> None:
            bar.update(task, completed=counts.acknowledged, total=counts.total)

        async def body(stop: asyncio.Event) -> Counts:
            wanted = Replay(file=file, data_type=data_type, topic=topic, **what)
            declared = config.data_types[data_type]
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
