"""The commands about a node: up, status, broker."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import structlog

from repertory.cli_options import (
    EMBEDDED_BROKER,
    config_option,
    json_option,
    print_json,
    url_option,
)
from repertory.config import ClusterConfig, NodePaths, load_config
from repertory.errors import ConfigError, RepertoryError

SERVERS_VARIABLE = "REPERTORY_KAFKA__BOOTSTRAP_SERVERS"
LOOK_SECONDS = 0.1
# Those who send a signal to a process and to its group mean it once.
AGAIN_SECONDS = 0.3

log = structlog.get_logger(__name__)


@click.command(short_help="Start this host's node, and serve until Ctrl-C or SIGTERM.")
@config_option
@click.option("--node", default="a", show_default=True, help="Which host of cluster.yaml this is.")
@click.option(
    "--broker",
    metavar="embedded|HOST:PORT",
    help="Kafka brokers to use. `embedded` starts the development broker, at the address in "
    f"cluster.yaml or else at {EMBEDDED_BROKER}.",
)
def up(config_path: Path, node: str, broker: str | None) -> None:
    """Start this host's share of the cluster, and serve until Ctrl-C or SIGTERM.

    It ends in order, in eight phases; a second Ctrl-C or SIGTERM kills what is left. Logs to
    standard error; its processes log to files below the node's data folder.
    """
    from repertory.actors.logs import set_up_logging
    from repertory.actors.node import Node

    embedded = broker == "embedded"
    if broker is not None and not embedded:
        os.environ[SERVERS_VARIABLE] = broker
    elif embedded:
        # The faces read it, too; an address from cluster.yaml or the environment is kept.
        configured = load_config(config_path).kafka.bootstrap_servers
        os.environ[SERVERS_VARIABLE] = configured or EMBEDDED_BROKER
    # The node's processes must not import what happens to lie in the folder it is started from.
    os.environ["PYTHONSAFEPATH"] = "1"
    config = load_config(config_path).of_node(node)
    set_up_logging(config.log_level)
    supervisor = Node(config, node, config_path, embedded_broker=embedded)
    _refuse_what_cannot_start(config, node, embedded=embedded)
    hastened_by = asyncio.run(_run(supervisor, config))
    if hastened_by is not None:
        sys.exit(128 + hastened_by)  # as of a process that a signal ended


def _refuse_what_cannot_start(config: ClusterConfig, node: str, *, embedded: bool) -> None:
    from repertory.doctor import holder, messages, port_fault
    from repertory.http.exposure import exposure_fault
    from repertory.http.face_tls import server_context

    paths = NodePaths(config, node)
    if fault := exposure_fault(config, node, paths):
        raise ConfigError(fault)
    if config.http.enabled and config.http.tls is not None:
        server_context(config.http.tls, node)
    pid = holder(paths)
    if pid is not None:
        raise click.ClickException(f"this node runs already, as process {pid} ({paths.root})")
    for finding in messages(config):
        if finding.level == "failed":
            raise click.ClickException(f"{finding.what}: {finding.found}; {finding.mend}")
    wanted = [(key, config.http.host, port) for key, port in config.http.ports]
    if config.is_cluster:
        own = config.nodes[node]
        ports = {"door_port": own.door_port, "admin_port": own.admin_port}
        wanted += [(f"nodes.{node}.{key}", own.host, port) for key, port in ports.items()]
    if embedded:
        wanted.append(("kafka.bootstrap_servers", *_embedded_address(config)))
    for key, host, port in wanted:
        fault = port_fault(host, port)
        if fault:
            raise click.ClickException(
                f"{key}: {host}:{port} cannot be listened on: {fault}; "
                "stop what listens there, or choose another port in cluster.yaml"
            )


def _embedded_address(config: ClusterConfig) -> tuple[str, int]:
    servers = config.kafka.bootstrap_servers or EMBEDDED_BROKER
    if "," in servers:
        raise click.ClickException(
            f"kafka.bootstrap_servers: the embedded broker has one address, not {servers}"
        )
    host, _, port = servers.rpartition(":")
    return host.strip("[]"), int(port)


class _Signals:
    """The first SIGINT or SIGTERM sets `stop`, another one `hasten`, and is remembered."""

    def __init__(self) -> None:
        self.stop, self.hasten = asyncio.Event(), asyncio.Event()
        self.last: int | None = None
        self._first = 0.0
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, self._came, each)

    def _came(self, number: int) -> None:
        now = time.monotonic()
        if not self.stop.is_set():
            self._first = now
            self.stop.set()
        elif now - self._first > AGAIN_SECONDS and not self.hasten.is_set():
            self.last = number
            self.hasten.set()


async def _run(supervisor: Any, config: ClusterConfig) -> int | None:
    """Return the signal that hastened the node's end, if one did."""
    signals = _Signals()
    where = {}
    if config.http.enabled:
        port = config.http.port or "any free port"
        scheme = "https" if config.http.tls else "http"
        where["http"] = f"{scheme}://{config.http.host}:{port}"
    if config.kafka.bootstrap_servers:
        where["kafka"] = config.kafka.bootstrap_servers
    log.info("starting", **where, data=str(config.data_dir.absolute()))
    telling = asyncio.create_task(_tell_what_lacks(supervisor))
    try:
        in_order = await supervisor.run(signals.stop, signals.hasten)
    finally:
        telling.cancel()
        # From here on the node has ended: a signal that comes now shall not change its exit code.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    return None if in_order else signals.last


async def _tell_what_lacks(supervisor: Any) -> None:
    """Say once the router answers that data types wait for a first model."""
    while not supervisor.health:
        await asyncio.sleep(LOOK_SECONDS)
    if supervisor.health["waiting_for"]:
        log.info("up, but not every data type has a model: `repertory publish` brings one")


@click.command(short_help="Show what a node serves, since when, how often and how fast.")
@url_option
@json_option
def status(url: str, as_json: bool) -> None:
    """Show what a node serves, since when, how often and how fast.

    p50 and p99 are what a record waited for its score in the serving actor, or for its policy's
    answer, in milliseconds.
    """
    from repertory.cli_tables import show_status

    found = asyncio.run(_status(url))
    if as_json:
        print_json(found)
    else:
        show_status(found, found["states"])


async def _status(url: str) -> dict[str, Any]:
    from repertory.http.caller import call, path

    found: dict[str, Any] = await call(url, "GET", "/status")
    found["states"] = {}
    for name in found["data_types"]:
        try:
            found["states"][name] = await call(url, "GET", path("state", name))
        except RepertoryError as error:
            found["states"][name] = {"error": str(error)}
    return found


@click.command(short_help="Run the embedded broker, for development only.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9092,
    show_default=True,
    help="Port; 0: any free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data here; in a temporary folder if absent.",
)
@click.option("--durable", is_flag=True, help="Wait for the disk before acknowledging.")
def broker(host: str, port: int, data_dir: Path | None, durable: bool) -> None:
    """Run the embedded broker: one node that speaks Kafka's protocol, for development only."""
    from repertory.streams.devbroker.broker import DevBroker, run
    from repertory.streams.devbroker.settings import BrokerSettings

    def announce(started: DevBroker) -> None:
        where = f"listening on {started.bootstrap_servers}"
        click.echo(f"{where}: a single node for development, not for production; Ctrl-C ends it")

    settings = BrokerSettings(host=host, port=port, data_dir=data_dir, durable=durable)
    asyncio.run(run(settings, announce))
