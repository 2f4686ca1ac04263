"""The tables that commands print, for people.

Not rich's: those cut or fold what does not fit, and names and reasons are to be read whole.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from repertory.streams.dead_letters import DeadLetter
    from repertory.streams.record import Headers

DIGEST_CHARACTERS = 12
GAP = "  "
_COLOURS = {"SERVING": "green", "IN_FORCE": "green", "REJECTED": "red"}
_NUMBERS = frozenset(
    {
        *("version", "usage", "errors", "p50 ms", "p99 ms", "replays", "fallbacks"),
        *("chosen", "asked", "arrived", "late", "failed", "not needed"),
    }
)


def show_versions(versions: list[dict[str, Any]]) -> None:
    """Print the versions of a data type's model; below the table why some were rejected."""
    signed = any(each.get("signedBy") for each in versions)
    header = ("version", "state", "name", "type", "sha256", *(("signed by",) * signed), "published")
    rows: list[tuple[str, ...]] = [
        (
            str(each["version"]),
            each["state"],
            each["name"],
            each["modelType"],
            each["sha256"][:DIGEST_CHARACTERS],
            *((each.get("signedBy") or "-",) * signed),
            moment(each["published"]),
        )
        for each in versions
    ]
    colours = [_COLOURS.get(each["state"]) for each in versions]
    echo_table(header, rows, colours=colours)
    for each in versions:
        if each["state"] == "REJECTED":
            click.secho(f"version {each['version']}: {each['reason']}", fg="red")


def show_policies(policies: list[dict[str, Any]]) -> None:
    """Print the versions of a data type's policy; below the table why some were rejected."""
    header = ("version", "state", "policy", "slots", "published", "why")
    rows = [
        (
            str(each["version"]),
            each["state"],
            each["policy"] or "-",
            ", ".join((each["settings"] or {}).get("slots", ())) or "-",
            moment(each["published"]),
            each["description"],
        )
        for each in policies
    ]
    echo_table(header, rows, colours=[_COLOURS.get(each["state"]) for each in policies])
    for each in policies:
        if each["state"] == "REJECTED":
            click.secho(f"policy {each['version']}: {each['reason']}", fg="red")


def show_status(status: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    """Print what a node serves, and how its policies do; for what has no model, why.

    What slots did is counted in batches, what was chosen of them in records.
    """
    ready = (
        click.style("ready", fg="green") if status["ready"] else click.style("not ready", fg="red")
    )
    click.echo(f"node {status['node']} is {ready}")
    for troubles in status["troubles"].values():
        for sentence in troubles:
            click.secho(sentence, fg="red")
    for sentence in _warnings(status):
        click.secho(sentence, fg="yellow")
    models = {slot: model for name, state in states.items() for slot, model in _models(name, state)}
    serving = {name: model for name, model in models.items() if "error" not in model}
    if serving:
        header = ("data type", "model", "version", "since", "usage", "errors", "p50 ms", "p99 ms")
        echo_table(header, [(name, *_state_cells(model)) for name, model in serving.items()])
    _show_policies_in_force(
        {name: each["policy"] for name, each in states.items() if "policy" in each}
    )
    for name, model in models.items():
        if "error" in model:
            click.secho(f"{name}: {model['error']}", fg="yellow")
    for name, state in states.items():
        if state.get("stale"):
            click.secho(f"{name}: {stale(state)}", fg="yellow")


def stale(told: dict[str, Any]) -> str:
    """Say that some figures are older than others, since a node cannot be reached."""
    since = moment(told["staleSince"])
    return f"not all nodes can be reached since {since}; what they did since is not counted"


def _warnings(status: dict[str, Any]) -> Iterator[str]:
    """Yield what does not go as it should, and keeps the node from nothing."""
    policies = (each.get("policy", {}) for each in status.get("data_types", {}).values())
    for told in (*status.get("faces", {}).values(), *policies):
        yield from told.get("warnings", ())


def _models(data_type: str, state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "slots" not in state:
        yield data_type, state
        return
    for slot, model in state["slots"].items():
        yield _place(data_type, slot), model


def _place(data_type: str, slot: str) -> str:
    return f"{data_type}/{slot}" if slot else data_type


def _show_policies_in_force(policies: dict[str, dict[str, Any]]) -> None:
    if not policies:
        return
    click.echo()
    header = ("data type", "policy", "version", "since", "usage", "errors", "p50 ms", "p99 ms")
    rows = [
        (name, *_state_cells(policy), f"{policy['fallbacks']:,}")
        for name, policy in policies.items()
    ]
    echo_table((*header, "fallbacks"), rows)
    click.echo()
    parts = [
        (_place(name, slot), _number(policy["choices"].get(slot)), *map(_number, counts.values()))
        for name, policy in policies.items()
        for slot, counts in policy["slots"].items()
    ]
    names = ("slot", "chosen", "asked", "arrived", "late", "failed", "not needed")
    echo_table(names, parts)


def _number(count: int | None) -> str:
    return "shadow" if count is None else f"{count:,}"


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
    echo_table(header, [tuple(map(one_line, row)) for row in rows])


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


def echo_table(
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    colours: Sequence[str | None] | None = None,
    numbers: Collection[str] = _NUMBERS,
) -> None:
    """Print a table; what stands below a header in `numbers` is aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        aligned = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, cell, width in zip(header, row, widths, strict=True)
        )
        return GAP.join(aligned).rstrip()

    click.secho(line(header), bold=True)
    for row, colour in zip(rows, colours or [None] * len(rows), strict=True):
        click.secho(line(row), fg=colour)


def moment(epoch_ms: int) -> str:
    """Return a moment in local time: the time of day if it is today, otherwise the day, too."""
    then, now = time.localtime(epoch_ms / 1000), time.localtime()
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)
