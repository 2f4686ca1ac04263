"""The development broker as a process of its own: `python -m repertory.streams.devbroker`.

Prints one line once clients can connect: `listening on HOST:PORT`.
"""

import argparse
import asyncio
import logging
import ssl
import sys
from pathlib import Path

from repertory.errors import ConfigError, RepertoryError
from repertory.streams.devbroker.broker import DevBroker, run
from repertory.streams.devbroker.lifetime import die_with
from repertory.streams.devbroker.settings import BrokerSettings


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise argparse.ArgumentTypeError(f"{text!r}: NAME:PASSWORD is expected")
    return name, password


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m repertory.streams.devbroker",
        description="A single-node Kafka broker for development and tests.",
    )
    default = BrokerSettings()
    add = parser.add_argument
    add("--host", default=default.host, help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=default.port, help="0, the default: any free port")
    add("--advertise", metavar="HOST", help="name under which clients reach this broker")
    add("--data-dir", type=Path, help="keep the data here; default: a temporary folder")
    add(
        "--partitions",
        type=int,
        default=default.default_partitions,
        help="of a topic created by its first use; 0: topics are not (default: %(default)s)",
    )
    add("--durable", action="store_true", help="wait for the disk before acknowledging")
    add("--no-checksums", action="store_true", help="do not check the CRC-32C of batches")
    add("--max-connections", type=int, default=default.max_connections)
    add("--user", type=_user, action="append", default=[], metavar="NAME:PASSWORD")
    add("--cert", type=Path, help="certificate (PEM); turns TLS on")
    add("--key", type=Path, help="its private key (PEM), if it is not in the same file")
    add("--die-with", type=int, metavar="PID", help="end when the parent, of this id, ends")
    return parser.parse_args()


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise ConfigError(f"--cert {cert}: {error}") from error
    return context


def _announce(broker: DevBroker) -> None:
    print(f"listening on {broker.bootstrap_servers}", flush=True)


def main() -> int:
    """Run until SIGINT or SIGTERM. Returns the exit code."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    arguments = _arguments()
    if arguments.die_with is not None:
        die_with(arguments.die_with)
    try:
        settings = BrokerSettings(
            host=arguments.host,
            port=arguments.port,
            advertised_host=arguments.advertise,
            data_dir=arguments.data_dir,
            default_partitions=arguments.partitions,
            durable=arguments.durable,
            verify_checksums=not arguments.no_checksums,
            max_connections=arguments.max_connections,
            users=dict(arguments.user),
            tls=_tls(arguments.cert, arguments.key),
        )
        asyncio.run(run(settings, _announce))
    except (RepertoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
