"""The commands about models: publish, versions, rollback, retire."""

import asyncio
from pathlib import Path
from typing import Any

import click

from repertory.cli_options import json_option, print_json, say, url_option, waiting

_SIGNATURE_CHARACTERS = 4096  # far more than any has


@click.command(short_help="Publish a model, and wait until it serves or is rejected.")
@url_option
@click.argument("data_type")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Name of the model; that of the file if absent.")
@click.option("--description", default="", help="A sentence about the model.")
@click.option(
    "--type",
    "--model-type",
    "model_type",
    metavar="TYPE",
    help="ONNX, PMML, TENSORFLOW (a frozen graph) or TENSORFLOWSAVED (a zip or tar.gz); "
    "told from the content if absent, with --kafka from the file's name.",
)
@click.option(
    "--signature",
    "signature_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SIG",
    help="What `repertory sign` wrote; FILE.sig if it exists.",
)
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Publish to Kafka instead of HTTP.")
@click.option("--topic", default="models", show_default=True, help="Topic, with --kafka.")
def publish(
    url: str,
    data_type: str,
    file: Path,
    name: str | None,
    signature_file: Path | None,
    brokers: str | None,
    **rest: Any,
) -> None:
    """Publish the model in FILE for DATA_TYPE, and wait until it serves or is rejected.

    A model that is rejected disturbs nothing: the old one goes on serving, the reason is printed,
    and the exit code is 1.

    Over Kafka, it is not waited for: `repertory versions` tells what became of it.
    """
    name = name or file.name.partition(".")[0]
    rest["signature"] = _signature(file, signature_file)
    if brokers is not None:
        _publish_to_kafka(file, brokers, data_type=data_type, name=name, **rest)
        return
    from repertory.http.caller import upload

    fields = {"dataType": data_type, "name": name, "description": rest["description"]}
    fields |= {"modelType": rest["model_type"]} if rest["model_type"] else {}
    fields |= {"signature": rest["signature"]} if rest["signature"] else {}
    with waiting(f"{name} is checked, compiled and tried out"):
        answer = asyncio.run(upload(url, file, fields))
    if answer.get("state") == "REJECTED" or "error" in answer:
        version = f"version {answer['version']} is rejected: " if "version" in answer else ""
        raise click.ClickException(f"{version}{answer.get('reason') or answer.get('error')}")
    _say_state(answer)


def _signature(file: Path, signature_file: Path | None) -> str | None:
    beside = file.with_name(f"{file.name}.sig")
    if signature_file is None and not beside.is_file():
        return None
    path = signature_file or beside
    try:
        with path.open() as opened:
            return opened.read(_SIGNATURE_CHARACTERS).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: cannot be read: {error}") from error


def _publish_to_kafka(file: Path, brokers: str, *, topic: str, **what: Any) -> None:
    from repertory.streams.publish import publish_model

    with waiting(f"waiting for {brokers} to take it"):
        publish_model(file, bootstrap_servers=brokers, topic=topic, **what)
    say(f"published to {topic} at {brokers}; `repertory versions` tells what becomes of it")


def _say_state(answer: dict[str, Any]) -> None:
    say(f"{answer['state']} {answer['name']} version {answer['version']}")


@click.command(short_help="List all versions of a model, with their states and reasons.")
@url_option
@click.argument("data_type")
@json_option
def versions(url: str, data_type: str, as_json: bool) -> None:
    """List all versions of DATA_TYPE's model, the latest first, with their states and reasons."""
    from repertory.cli_tables import show_versions
    from repertory.http.caller import call, path

    found = asyncio.run(call(url, "GET", path("models", data_type, "versions")))
    if as_json:
        print_json(found)
    elif found["versions"]:
        show_versions(found["versions"])
    else:
        click.echo(f"no model was published for {data_type} yet: repertory publish")


@click.command(short_help="Serve an earlier version of a model again.")
@url_option
@click.argument("data_type")
@click.argument("version", type=click.IntRange(min=1))
def rollback(url: str, data_type: str, version: int) -> None:
    """Serve VERSION of DATA_TYPE's model again. It must have served before."""
    from repertory.http.caller import call, path

    target = path("models", data_type, "rollback")
    with waiting(f"version {version} is brought back"):
        answer = asyncio.run(call(url, "POST", target, {"version": version}))
    _say_state(answer)


@click.command(short_help="Serve no model of a data type any more.")
@url_option
@click.argument("data_type")
def retire(url: str, data_type: str) -> None:
    """Serve no model of DATA_TYPE any more, until one is published or rolled back to.

    Records of it wait in Kafka, and are refused over HTTP. No version is lost.
    """
    from repertory.http.caller import call, path

    with waiting(f"the model of {data_type} is retired"):
        answer = asyncio.run(call(url, "DELETE", path("models", data_type)))
    if "version" in answer:
        _say_state(answer)
    elif answer["state"] == "RETIRED":
        say(f"RETIRED {data_type}: no model of it served")
    else:
        say(f"{answer['state']} {data_type}: it is retired as soon as the node comes to it")
