"""The commands about dead letters: list, show, replay."""

import asyncio
import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from repertory.cli_options import (
    EMBEDDED_BROKER,
    config_option,
    json_option,
    moment_ms,
    print_json,
    say,
    until_signalled,
)
from repertory.config import ClusterConfig, Kafka, load_config

if TYPE_CHECKING:
    from repertory.streams.dead_letter_replay import Report
    from repertory.streams.dead_letter_topic import Choice, DeadLetterTopic
    from repertory.streams.dead_letters import DeadLetter

MOST_REFUSED = 20  # of the letters that cannot be replayed, shown one by one


def _id(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,18})", text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is no id of a dead letter: PARTITION/OFFSET, as `list` shows it"
        )
    return int(found[1]), int(found[2])


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose dead letters."""
    for option in (
        click.option(
            "--since",
            "since_ms",
            type=moment_ms,
            metavar="TIME",
            help="Only what failed since: 15m, 1h, 2d, …",
        ),
        click.option("--code", help="Only of this code: invalid_record, rejected, …"),
        click.option("--data-type", help="Only of this data type."),
        click.option("--topic", help="Only of records that were read from this topic."),
    ):
        command = option(command)
    return command


brokers_option = click.option(
    "--kafka",
    "brokers",
    metavar="HOST:PORT",
    help=f"Brokers; those of cluster.yaml, or else {EMBEDDED_BROKER}, if absent.",
)


class _Group(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which they are wanted


@click.group(
    cls=_Group, name="dead-letters", short_help="List, show and replay what could not be scored."
)
def dead_letters() -> None:
    """List, show and replay the records and models that were refused.

    They are on the topic kafka.dead_letters_topic of cluster.yaml, each as it was, with headers
    that say why. A letter's id is its place there, PARTITION/OFFSET.
    """


@dead_letters.command("list", short_help="List dead letters, the newest last.")
@config_option
@brokers_option
@_choosing
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Show only the newest; all are counted.",
)
@json_option
def list_letters(
    config_path: Path, brokers: str | None, limit: int, as_json: bool, **choice: Any
) -> None:
    """List dead letters, the newest last, and count all by code.

    Changes nothing, and sees what is there when it starts.
    """
    from repertory.cli_tables import show_dead_letters

    with _opened(config_path, brokers) as (_, letters):
        newest, counts = _newest(letters, _choice(choice), limit)
    if as_json:
        found = [_facts(each) for each in newest]
        print_json({"dead_letters": found, "codes": dict(counts), "count": counts.total()})
        return
    if newest:
        show_dead_letters(newest)
    shown = f", the newest {len(newest):,} shown" if counts.total() > len(newest) else ""
    codes = ", ".join(f"{code} {count:,}" for code, count in counts.most_common())
    click.echo(f"{_letters(counts.total())}{shown}{': ' if codes else ''}{codes}")


def _newest(
    letters: "DeadLetterTopic", choice: "Choice", limit: int
) -> tuple[list["DeadLetter"], Counter[str]]:
    from repertory.streams.dead_letters import read_letter

    newest: list[tuple[int, int, int, DeadLetter]] = []
    counts: Counter[str] = Counter()
    with _progress(letters, "reading") as advance:
        for messages in letters.scan():
            for letter in filter(choice.takes, map(read_letter, messages)):
                counts[letter.code] += 1
                item = (letter.failed_ms, letter.partition, letter.offset, letter)
                (heapq.heappush if len(newest) < limit else heapq.heappushpop)(newest, item)
            advance(len(messages))
    return [item[-1] for item in sorted(newest)], counts


@dead_letters.command(short_help="Show all of one dead letter: why, headers, key and value.")
@config_option
@brokers_option
@click.argument("letter_id", metavar="ID", type=_id)
@click.option(
    "--value",
    "file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the record's bytes to this file; - is standard output, and nothing else then.",
)
def show(
    config_path: Path, brokers: str | None, letter_id: tuple[int, int], file: Path | None
) -> None:
    """Show all of the dead letter ID: why it is one, headers, key and value.

    The value is shown as the message of its data type, as JSON, or in hex. One that was too large
    for the topic of dead letters is read where the record came from.
    """
    from repertory.cli_tables import show_dead_letter
    from repertory.streams.dead_letter_replay import find_letter, whole
    from repertory.streams.dead_letter_text import value_lines

    with _opened(config_path, brokers) as (config, letters):
        letter = find_letter(letters, *letter_id)
        value, headers, why = whole(letters, letter)
    what, lines = (why, []) if value is None else value_lines(letter, value, config)
    if str(file) != "-":
        size = "no value" if value is None else f"{len(value):,} bytes"
        title = f"{size}: {what}" if what else size
        show_dead_letter(letter, headers or letter.headers, title, lines)
    if file is not None:
        if value is None:
            raise click.ClickException(why or f"{letter.id} has no value")
        with click.open_file(str(file), "wb") as out:
            out.write(value)


@dead_letters.command(short_help="Send records of dead letters back to where they came from.")
@config_option
@brokers_option
@click.argument("letter_ids", metavar="[ID]...", nargs=-1, type=_id)
@_choosing
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--to", metavar="TOPIC", help="Send to this topic instead.")
@click.option("--again", is_flag=True, help="Send also what was replayed before.")
@click.option("--now", is_flag=True, help="Give records the time of now instead of their own.")
@click.option("--dry-run", is_flag=True, help="Send nothing; tell what would be sent.")
def replay(
    config_path: Path,
    brokers: str | None,
    letter_ids: tuple[tuple[int, int], ...],
    everything: bool,
    **what: Any,
) -> None:
    """Send the records of dead letters back to the topics and partitions they came from.

    Choose them by their IDs, by --topic, --data-type, --code and --since, or take --all. Each has
    its bytes, key, headers and timestamp; its header dead-letter-attempts counts the replays.

    What was replayed is remembered, so that doing it twice sends it once; the letters stay on
    their topic.
    """
    from repertory.streams.dead_letter_replay import How, LetterReplay

    filters = {key: what.pop(key) for key in ("topic", "data_type", "code", "since_ms")}
    _refuse_unclear(
        bool(letter_ids), any(each is not None for each in filters.values()), everything
    )
    how = How(**what)
    with _opened(config_path, brokers, to=how.to) as (config, letters):
        sender = LetterReplay(letters, _kafka(config, brokers), how)
        try:
            if letter_ids:
                sender.some(dict.fromkeys(letter_ids))
            else:
                _replay_chosen(sender, letters, filters)
        finally:
            _tell(sender.report, dry_run=how.dry_run)
    if sender.report.refused:
        raise click.exceptions.Exit(1)


def _refuse_unclear(ids: bool, filters: bool, everything: bool) -> None:
    if not (ids or filters or everything):
        raise click.UsageError("say which: IDs, --topic, --data-type, --code, --since, or --all")
    if ids and (filters or everything):
        raise click.UsageError("either IDs or options choose the dead letters, not both")
    if filters and everything:
        raise click.UsageError("--all takes all: leave it out, or the options that choose")


def _replay_chosen(sender: Any, letters: "DeadLetterTopic", filters: dict[str, Any]) -> None:
    with _progress(letters, "replaying") as advance:

        async def body(stop: asyncio.Event) -> None:
            choice = _choice(filters)
            # What is sent is also stored as such before it ends by Ctrl-C.
            await asyncio.to_thread(sender.chosen, choice, progress=advance, stop=stop.is_set)
            if stop.is_set():
                click.echo("stopped; the same command goes on from here", err=True)

        asyncio.run(until_signalled(body))


def _tell(report: "Report", *, dry_run: bool) -> None:
    done = "would send" if dry_run else "sent"
    topics = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(report.sent.items()))
    say(f"{done} {_letters(report.sent.total())}{': ' if topics else ''}{topics}")
    if report.known:
        click.echo(
            f"passed over {report.known:,} that were replayed before; --again sends them too"
        )
    for identity, why in report.refused[:MOST_REFUSED]:
        click.secho(f"{identity} cannot be replayed: {why}", fg="red", err=True)
    if len(report.refused) > MOST_REFUSED:
        click.secho(f"… and {len(report.refused) - MOST_REFUSED:,} more", fg="red", err=True)
    if report.forgotten:
        click.secho("not all of it can be remembered: the choice is too scattered", err=True)


@contextmanager
def _opened(
    config_path: Path, brokers: str | None, *, to: str | None = None
) -> Iterator[tuple[ClusterConfig, "DeadLetterTopic"]]:
    from repertory.streams.dead_letter_topic import DeadLetterTopic

    config = load_config(config_path)
    with DeadLetterTopic(_kafka(config, brokers), to=to) as letters:
        yield config, letters


def _kafka(config: ClusterConfig, brokers: str | None) -> Kafka:
    servers = brokers or config.kafka.bootstrap_servers or EMBEDDED_BROKER
    return config.kafka.model_copy(update={"bootstrap_servers": servers})


def _choice(filters: dict[str, Any]) -> "Choice":
    from repertory.streams.dead_letter_topic import Choice

    return Choice(**filters)


@contextmanager
def _progress(letters: "DeadLetterTopic", what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far a scan is; it is gone at the end."""
    target = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    total = sum(high - low for low, high in letters.ends.values())
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=target,
        disable=not target.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task(f"{what} {letters.name}", total=total)
        yield lambda count: bar.advance(task, count)


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _facts(letter: "DeadLetter") -> dict[str, Any]:
    """Return a letter for programs, without key, headers and value."""
    source, model = letter.source, letter.model
    size = letter.value_bytes if letter.value is None else len(letter.value)
    return {
        "id": letter.id,
        "failed": letter.failed_ms,
        "dataType": letter.data_type or None,
        "code": letter.code,
        "reason": letter.reason,
        "topic": source.topic if source else None,
        "partition": source.partition if source else None,
        "offset": source.offset if source else None,
        "timestamp": letter.timestamp_ms or None,
        "model": None
        if model is None
        else {"name": model.name, "version": model.version, "sha256": model.sha256},
        "attempts": letter.attempts,
        "bytes": size,
    }
