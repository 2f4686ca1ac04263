"""The command `sign`: keys, and signatures of models."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repertory.cli_options import say

if TYPE_CHECKING:  # cryptography takes a while to import
    from repertory.models.signing import SigningKey, Statement


@click.command(short_help="Sign a model, or make a key for that.")
@click.argument("model", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key",
    "key_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="signing.key",
    show_default=True,
    help="The private key, Ed25519 in PEM.",
)
@click.option("--data-type", help="The data type that the model is for; needed to sign.")
@click.option(
    "--type",
    "--model-type",
    "model_type",
    metavar="TYPE",
    help="ONNX, PMML, TENSORFLOW or TENSORFLOWSAVED; told from the content if absent.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the signature; MODEL.sig if absent, where `repertory publish` finds it.",
)
@click.option("--new-key", is_flag=True, help="Make a key instead, and print its public half.")
@click.option("--show-key", is_flag=True, help="Print the public half of a key instead.")
def sign(
    model: Path | None,
    key_path: Path,
    data_type: str | None,
    *,
    model_type: str | None,
    out: Path | None,
    new_key: bool,
    show_key: bool,
) -> None:
    """Sign MODEL, a file or the folder of a SavedModel, for one data type.

    Nodes with models.trusted_keys take no model that is not signed by one of these keys. A
    signature is for this content, this type of model and this data type, and for nothing else.

    \b
      repertory sign --new-key --key release.key
      repertory sign forest.onnx --key release.key --data-type wine
      repertory publish wine forest.onnx
    """  # noqa: D301 - click's mark for lines that are not to be joined
    from repertory.models.signing import SigningKey

    if new_key or show_key:
        if model is not None or (new_key and show_key):
            raise click.UsageError("give a MODEL, --new-key or --show-key, and no two of them")
        _show(SigningKey.make(key_path) if new_key else SigningKey.read(key_path))
        if new_key:
            click.echo(f"wrote {key_path}: whoever has it signs in your name", err=True)
        return
    if model is None or not data_type:
        raise click.UsageError("to sign, a MODEL and --data-type are needed")
    key = SigningKey.read(key_path)
    path = out or model.with_name(f"{model.name}.sig")
    statement = _statement(model, data_type, model_type)
    try:
        path.write_text(f"{key.sign(statement)}\n")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}") from error
    say(
        f"wrote {path}: {statement.model_type} for {statement.data_type}, signed by key"
        f" {key.fingerprint}"
    )


def _show(key: "SigningKey") -> None:
    click.echo(f"models:\n  trusted_keys:\n    - {key.public}  # {key.fingerprint}")


def _statement(model: Path, data_type: str, model_type: str | None) -> "Statement":
    import hashlib

    from repertory.models.descriptor import folder_digest
    from repertory.models.signing import Statement
    from repertory.models.sniff import guess_model_type
    from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

    known = list(ModelDescriptor.ModelType.keys())
    if model_type is not None and model_type.upper() not in known:
        raise click.BadParameter(f"{model_type!r} is none of {', '.join(known)}")
    guess: ModelDescriptor.ModelType | None = ModelDescriptor.TENSORFLOWSAVED
    try:
        if model.is_dir():
            sha256 = folder_digest(model)
        else:
            content = model.read_bytes()
            guess, sha256 = guess_model_type(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise click.ClickException(f"{model}: cannot be read: {error.strerror}") from error
    if model_type is not None:
        return Statement(sha256, model_type.upper(), data_type)
    if guess is None:
        raise click.ClickException(f"{model}: its type cannot be told from its content: say --type")
    return Statement(sha256, ModelDescriptor.ModelType.Name(guess), data_type)
