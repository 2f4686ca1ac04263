"""The tables that commands print, for people.

Not rich's: those cut or fold what does not fit, and names and reasons are to be read whole.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from repertory.streams.dead_letters import DeadLetter
    from repertory.streams.record import Headers

DIGEST_CHARACTERS = 12
GAP = "  "
_COLOURS = {"SERVING": "green", "REJECTED": "red"}
_NUMBERS = frozenset({"version", "usage", "errors", "p50 ms", "p99 ms", "replays"})


def show_versions(versions: list[dict[str, Any]]) -> None:
    """Print the versions of a data type's model; below the table why some were rejected."""
    header = ("version", "state", "name", "type", "sha256", "published")
    rows: list[tuple[str, ...]] = [
        (
            str(each["version"]),
            each["state"],
            each["name"],
            each["modelType"],
            each["sha256"][:DIGEST_CHARACTERS],
            moment(each["published"]),
        )
        for each in versions
    ]
    colours = [_COLOURS.get(each["state"]) for each in versions]
    _echo(header, rows, colours=colours)
    for each in versions:
        if each["state"] == "REJECTED":
            click.secho(f"version {each['version']}: {each['reason']}", fg="red")


def show_status(status: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    """Print what a node serves; for a data type without a model, why."""
    ready = (
        click.style("ready", fg="green") if status["ready"] else click.style("not ready", fg="red")
    )
    click.echo(f"node {status['node']} is {ready}")
    for troubles in status["troubles"].values():
        for sentence in troubles:
            click.secho(sentence, fg="red")
    header = ("data type", "model", "version", "since", "usage", "errors", "p50 ms", "p99 ms")
    serving = {name: state for name, state in states.items() if "error" not in state}
    if serving:
        _echo(header, [(name, *_state_cells(state)) for name, state in serving.items()])
    for name, state in states.items():
        if "error" in state:
            click.secho(f"{name}: {state['error']}", fg="yellow")


def show_dead_letters(letters: Sequence["DeadLetter"]) -> None:
    """Print dead letters, a line for each; the reason is the rest of it."""
    from repertory.streams.dead_letter_text import one_line

    header = ("id", "failed", "data type", "code", "record", "model", "replays", "reason")
    rows = [
        (
            each.id,
            moment(each.failed_ms),
            each.data_type or "-",
            each.code,
            str(each.source),
            "-" if each.model is None else f"{each.model.name} {each.model.version}",
            str(each.attempts),
            each.reason,
        )
        for each in letters
    ]
    _echo(header, [tuple(map(one_line, row)) for row in rows])


def show_dead_letter(
    letter: "DeadLetter", headers: "Headers", title: str, value: Sequence[str]
) -> None:
    """Print all of a dead letter; `value` are the lines of its record's value, under `title`."""
    from repertory.streams.dead_letter_text import one_line, printable

    model = letter.model
    facts = [
        ("code", letter.code or "(no dead letter of Repertory's)"),
        ("reason", letter.reason),
        ("failed", moment(letter.failed_ms) if letter.failed_ms else ""),
        ("data type", letter.data_type),
        ("record", str(letter.source or "")),
        ("timestamp", moment(letter.timestamp_ms) if letter.timestamp_ms else ""),
        ("model", f"{model.name} version {model.version}, {model.sha256}" if model else ""),
        ("replays", str(letter.attempts or "")),
        ("key", printable(letter.key)),
        *((f"header {name}", printable(data)) for name, data in headers),
        ("value", title),
    ]
    click.secho(f"dead letter {letter.id}", bold=True)
    for name, text in facts:
        if text:
            click.echo(f"  {one_line(name):<10}{GAP}{one_line(text)}")
    for line in value:
        click.echo(f"    {line}")


def _state_cells(state: dict[str, Any]) -> tuple[str, ...]:
    percentiles = state["percentiles"]
    return (
        state["name"],
        str(state["version"]),
        moment(state["since"]),
        f"{state['usage']:,}",
        f"{state['errors']:,}",
        f"{percentiles['p50']:.2f}",
        f"{percentiles['p99']:.2f}",
    )


def _echo(
    header: tuple[str, ...],
    rows: list[tuple[str, ...]],
    *,
    colours: Sequence[str | None] | None = None,
) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    click.secho(_line(header, header, widths), bold=True)
    for row, colour in zip(rows, colours or [None] * len(rows), strict=True):
        click.secho(_line(header, row, widths), fg=colour)


def _line(header: tuple[str, ...], row: tuple[str, ...], widths: list[int]) -> str:
    def cells() -> Iterator[str]:
        for column, cell, width in zip(header, row, widths, strict=True):
            yield cell.rjust(width) if column in _NUMBERS else cell.ljust(width)

    return GAP.join(cells()).rstrip()


def moment(epoch_ms: int) -> str:
    """Return a moment in local time: the time of day if it is today, otherwise the day, too."""
    then, now = time.localtime(epoch_ms / 1000), time.localtime()
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)
