"""The commands about policies: set, show, history, rollback, remove."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from repertory.cli_options import json_option, print_json, say, url_option, waiting


class _Group(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which they are wanted


@click.group(cls=_Group, short_help="Choose among several models of a data type.")
def policy() -> None:
    """Choose whose answer each record gets, when several models of a data type are on stage.

    \b
      repertory policy set wine deadline forest mlp tree --deadline-ms 20
      repertory policy set wine majority forest mlp tree
      repertory policy set wine canary forest mlp --option share=0.1
      repertory policy set wine latest --shadow mlp
      repertory policy show wine

    The first slot is trusted most. A model goes to the slot of its name.
    """  # noqa: D301 - click's mark for lines that are not to be joined


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


@policy.command("set", short_help="Put a policy in force.")
@url_option
@click.argument("data_type")
@click.argument("kind", required=False)
@click.argument("slots", nargs=-1)
@click.option("--deadline-ms", type=float, help="How long slots are waited for.")
@click.option("--shadow", "shadows", multiple=True, help="Compare this slot; it never answers.")
@click.option("--tolerance", type=float, help="By how much values may differ and still agree.")
@click.option("--decoy", is_flag=True, help="Archive each input, with its answer.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="What this kind needs besides: quorum, share, by, windowSeconds, …",
)
@click.option(
    "--file",
    "file",
    type=click.File("rb"),
    help="Read the settings, a JSON object, from this file; - is standard input.",
)
@click.option("--description", default="", help="Why, for whoever reads the history.")
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Publish to Kafka instead of HTTP.")
@click.option("--topic", default="models", show_default=True, help="Topic, with --kafka.")
def set_policy(
    url: str,
    data_type: str,
    kind: str | None,
    file: Any,
    description: str,
    **settings: Any,
) -> None:
    """Put a policy in force: KIND is latest, deadline, majority, quality, canary, or your own.

    It is checked against the models on stage first; the old one is in force until then.

    Over Kafka, it is not waited for: `repertory policy history` tells what became of it.
    """
    from repertory.http.caller import call, path

    if (file is None) == (kind is None):
        raise click.UsageError("say the KIND and its slots, or --file")
    brokers, topic = settings.pop("brokers"), settings.pop("topic")
    document = _document(kind, settings)
    if file is not None:
        if document:
            raise click.UsageError(f"--file says it all, also {', '.join(document)}")
        document = _read(file)
    description = description or document.pop("description", "")
    if brokers is not None:
        _publish(brokers, topic, data_type, document, description)
        return
    with waiting(f"the policy of {data_type} is checked"):
        body = {**document, "description": description}
        answer = asyncio.run(call(url, "PUT", path("policies", data_type), body))
    _say(answer)


def _publish(
    brokers: str, topic: str, data_type: str, document: dict[str, Any], description: str
) -> None:
    from repertory.streams.publish import publish_policy

    with waiting(f"waiting for {brokers} to take it"):
        publish_policy(
            data_type,
            json.dumps(document),
            bootstrap_servers=brokers,
            topic=topic,
            description=description,
        )
    say(f"published to {topic} at {brokers}; `repertory policy history` tells what becomes of it")


def _document(kind: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    document = {
        "policy": kind,
        "slots": settings["slots"],
        "deadlineMs": settings["deadline_ms"],
        "shadows": settings["shadows"],
        "tolerance": settings["tolerance"],
        "decoy": settings["decoy"] or None,
        "options": dict(map(_option, settings["options"])),
    }
    absent: tuple[object, ...] = (None, (), {})
    return {key: value for key, value in document.items() if value not in absent}


def _read(file: Any) -> dict[str, Any]:
    try:
        document = json.load(file)
    except ValueError as error:
        raise click.ClickException(f"{Path(file.name).name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise click.ClickException(f"{Path(file.name).name} holds no JSON object")
    return document


@policy.command(short_help="Show the policy in force.")
@url_option
@click.argument("data_type")
def show(url: str, data_type: str) -> None:
    """Print the settings of the policy of DATA_TYPE, as `set --file` takes them."""
    from repertory.http.caller import call, path

    found = asyncio.run(call(url, "GET", path("policies", data_type)))
    print_json(found["settings"])


@policy.command(short_help="List all policies there were, and why.")
@url_option
@click.argument("data_type")
@json_option
def history(url: str, data_type: str, as_json: bool) -> None:
    """List all policies of DATA_TYPE, the latest first, with their states and reasons."""
    from repertory.cli_tables import show_policies
    from repertory.http.caller import call, path

    found = asyncio.run(call(url, "GET", path("policies", data_type, "versions")))
    if as_json:
        print_json(found)
    elif found["policies"]:
        show_policies(found["policies"])
    else:
        click.echo(f"{data_type} never had a policy: the newest model serves")


@policy.command(short_help="Put the settings of an earlier version in force again.")
@url_option
@click.argument("data_type")
@click.argument("version", type=click.IntRange(min=1))
def rollback(url: str, data_type: str, version: int) -> None:
    """Put the settings of VERSION in force again, as a new version."""
    from repertory.http.caller import call, path

    with waiting(f"policy {version} is brought back"):
        target = path("policies", data_type, "rollback")
        answer = asyncio.run(call(url, "POST", target, {"version": version}))
    _say(answer)


@policy.command(short_help="Have no policy any more: the newest model serves.")
@url_option
@click.argument("data_type")
def remove(url: str, data_type: str) -> None:
    """Have no policy for DATA_TYPE any more: the newest model serves, of whatever name."""
    from repertory.http.caller import call, path

    with waiting(f"the policy of {data_type} is removed"):
        answer = asyncio.run(call(url, "DELETE", path("policies", data_type)))
    _say(answer)


def _say(answer: dict[str, Any]) -> None:
    what = f"policy {answer['version']}"
    say(f"{answer['state']} {what}: {answer.get('policy') or 'the newest model serves'}")
