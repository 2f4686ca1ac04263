"""`repertory replay --from decoy`: archived inputs scored again, and what comes out compared."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repertory.cli_options import print_json, until_signalled
from repertory.cli_tables import echo_table
from repertory.config import NodePaths, load_config

if TYPE_CHECKING:
    from repertory.actors.decoy_answers import Answer, Comparison
    from repertory.actors.decoy_replay import Report
    from repertory.actors.decoy_versions import Version, Versions

ANSWERS = "answers"
_VERSION = re.compile(r"(?:(?P<name>.+)@)?(?P<number>[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be replayed, and with what it is compared."""

    data_type: str
    node: str | None = None
    since_ms: int | None = None
    as_of_ms: int | None = None
    model: str | None = None
    against: str = ANSWERS
    limit: int | None = None
    as_json: bool = False


def replay_decoy(config_path: Path, wanted: Wanted, progress: Any) -> None:
    """Replay what a decoy archived; `progress` is a bar of records.

    Raises click's errors, and Repertory's.
    """
    task = progress.add_task(f"inputs of {wanted.data_type}", total=wanted.limit)
    with _replayer(config_path, wanted) as (batches, replayer, done), progress:

        def work(stopped: Callable[[], bool]) -> None:
            from repertory.actors.decoy_replay import replay
            from repertory.models.model import ModelBroken

            try:
                for report in replay(batches, replayer, limit=wanted.limit):
                    progress.update(task, completed=report.records)
                    if stopped():
                        return
            except ModelBroken as error:
                raise click.ClickException(f"the engine of a model died: {error}") from error

        async def body(stop: asyncio.Event) -> bool:
            await asyncio.to_thread(work, stop.is_set)
            return stop.is_set()

        stopped = asyncio.run(until_signalled(body))
    if stopped:
        click.echo("stopped; what was compared until then follows", err=True)
        if not replayer.report.records:
            return
    done()
    _tell(replayer.report, wanted)


@contextmanager
def _replayer(config_path: Path, wanted: Wanted) -> Iterator[Any]:
    from repertory.actors.decoy_replay import Replayer
    from repertory.actors.decoy_versions import Versions
    from repertory.actors.process import NodeProcess
    from repertory.models.records import RecordDecoder
    from repertory.models.schema import schema_of
    from repertory.protos.loading import load_message
    from repertory.streams.archived import Archived

    config = load_config(config_path)
    if wanted.data_type not in config.data_types:
        known = ", ".join(config.data_types)
        raise click.UsageError(f"no data type {wanted.data_type!r} is declared; there are: {known}")
    node = wanted.node or next(iter(config.nodes))
    if node not in config.nodes:
        raise click.UsageError(
            f"no node {node!r} is declared; there are: {', '.join(config.nodes)}"
        )
    process = NodeProcess(config, node, NodePaths(config, node))
    declared = config.data_types[wanted.data_type]
    schema = schema_of(wanted.data_type, declared)
    since, until = (wanted.since_ms or 0) * 1000, (wanted.as_of_ms or _now_ms()) * 1000 + 999
    archived = Archived(process, wanted.data_type, since_us=since, until_us=until)

    def done() -> None:
        if archived.missed:
            text = "the newest inputs were archived meanwhile, and are left out"
            click.echo(f"{text}: {archived.missed} segments", err=True)

    with closing(Versions(process, schema)) as versions:
        decoder = RecordDecoder(schema, load_message(declared.message))
        model = None if wanted.model is None else _version(versions, wanted.model)
        against = None if wanted.against == ANSWERS else _version(versions, wanted.against)
        replayer = Replayer(versions, decoder, model=model, against=against)
        yield archived.batches(), replayer, done


def _version(versions: "Versions", text: str) -> "Version":
    found = _VERSION.fullmatch(text)
    if found is None:
        raise click.UsageError(f"{text!r} is no version: NAME@VERSION, such as forest@3")
    return versions.get(int(found["number"]), name=found["name"])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# --- what is printed


def _tell(report: "Report", wanted: Wanted) -> None:
    if not report.records:
        raise click.ClickException(
            f"no inputs of {wanted.data_type!r} are archived"
            + (" in that time" if wanted.since_ms or wanted.as_of_ms else "")
            + "; a policy with a decoy archives them"
        )
    if wanted.as_json:
        print_json(_as_json(report, wanted))
    else:
        _show(report, wanted)
    if wanted.model is None and wanted.against == ANSWERS and report.comparison.different:
        raise click.exceptions.Exit(1)  # the same version said something else


def _show(report: "Report", wanted: Wanted) -> None:
    comparison = report.comparison
    click.echo(
        f"{report.records:,} inputs of {wanted.data_type} in {report.batches:,} batches, archived"
        f" {_moment(report.oldest_us)} to {_moment(report.newest_us)}"
    )
    by = ", ".join(f"{name} ({count:,})" for name, count in report.versions.items())
    than = "what was answered then" if wanted.against == ANSWERS else wanted.against
    click.echo(f"scored again by {by or 'nobody'}; compared with {than}:")
    for title, count in (
        ("identical", comparison.identical),
        ("same within 1e-6", comparison.close),
        ("different", comparison.different),
        ("had no answer", comparison.unanswered),
    ):
        colour = "red" if title == "different" and count else None
        click.secho(f"  {title:<17} {count:>9,}", fg=colour)
    if comparison.different:
        _show_differences(comparison)


def _show_differences(comparison: "Comparison") -> None:
    click.echo(f"agreement {comparison.agreed / comparison.compared:.2%}")
    if comparison.largest:
        click.echo(f"largest difference {comparison.largest:.6g}, of {comparison.largest_at}")
    labels = [pair for pair in comparison.confusion if pair != ("a value", "a value")]
    if labels:
        click.echo()
        counted = sorted((pair, comparison.confusion[pair]) for pair in labels)
        rows = [(then, now, f"{count:,}") for (then, now), count in counted]
        echo_table(("then", "now", "records"), rows)
    click.echo()
    rows = [(each.record, str(each.then), str(each.now)) for each in comparison.examples]
    echo_table(("record that differs", "then", "now"), rows)
    left = comparison.different - len(rows)
    if left:
        click.echo(f"… and {left:,} more")


def _as_json(report: "Report", wanted: Wanted) -> dict[str, Any]:
    comparison = report.comparison
    compared = comparison.compared
    return {
        "dataType": wanted.data_type,
        "records": report.records,
        "batches": report.batches,
        "oldest": report.oldest_us // 1000,
        "newest": report.newest_us // 1000,
        "versions": dict(report.versions),
        "against": wanted.against,
        "identical": comparison.identical,
        "close": comparison.close,
        "different": comparison.different,
        "unanswered": comparison.unanswered,
        "agreement": comparison.agreed / compared if compared else None,
        "largestDifference": comparison.largest,
        "confusion": [
            {"then": then, "now": now, "records": count}
            for (then, now), count in sorted(comparison.confusion.items())
        ],
        "examples": [
            {"record": each.record, "then": _json(each.then), "now": _json(each.now)}
            for each in comparison.examples
        ],
    }


def _json(answer: "Answer") -> dict[str, Any]:
    if answer.error is not None:
        return {"error": answer.error}
    if answer.value is not None:
        return {"value": answer.value}
    of = dict(zip(answer.labels, answer.probabilities, strict=True))
    return {"label": answer.label, **({"probabilities": of} if of else {})}


def _moment(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
