"""The command `certs`: certificates for the doors between nodes, for development."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repertory.cli_options import config_option, say
from repertory.config import load_config
from repertory.errors import ConfigError

if TYPE_CHECKING:  # cryptography takes a while to import
    from repertory.certificates import CertificateSet


@click.command(short_help="Make certificates for nodes, for development only.")
@config_option
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="certs",
    show_default=True,
    help="Folder for the files.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="They are valid."
)
@click.option("--force", is_flag=True, help="Make all anew, the authority too.")
def certs(config_path: Path, folder: Path, days: int, force: bool) -> None:
    """Make an authority, and a certificate and key for each node of cluster.yaml.

    A set that is there already is only added to: certificates for new nodes, by the same authority.

    This is for development: whoever has authority.key can make certificates for anybody. Each node
    needs authority.pem and its own two files, and nothing else.
    """
    from repertory.certificates import CertificateSet, make_certificates

    config = load_config(config_path)
    hosts = {name: node.host for name, node in config.nodes.items()}
    try:
        files = CertificateSet(folder)
        written = list(make_certificates(files, hosts, days=days, anew=force))
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: {error.strerror}") from error
    if not written:
        raise ConfigError(
            f"{folder}: all nodes of {config_path} have certificates there; --force makes all anew"
        )
    for path in written:
        say(f"wrote {path}")
    click.echo(_advice(files))


def _advice(files: "CertificateSet") -> str:
    return f"""
Put this into cluster.yaml; {{node}} stands for the node's name:

cluster:
  tls:
    certificate: {files.certificate("{node}")}
    key: {files.key("{node}")}
    authority: {files.authority}

A node needs its own certificate and key, and {files.authority.name}.
Keep {files.authority_key} away from them: it makes certificates for anybody."""
