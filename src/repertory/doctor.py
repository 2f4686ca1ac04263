"""`repertory doctor`: what an installation has, what it lacks, and how to mend it."""

import importlib
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from repertory.config import ClusterConfig, NodePaths, load_config
from repertory.errors import ConfigError

Level = Literal["ok", "warning", "failed"]

# Longest path that the kernel takes for a UNIX socket.
SOCKET_PATH_BYTES = 107
BROKER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    found: str
    mend: str = ""


def examine(config_path: Path) -> Iterator[Finding]:
    """Look at everything, and yield what was found; nothing is changed."""
    yield _python()
    yield from _engines()
    try:
        config = load_config(config_path)
    except ConfigError as error:
        yield Finding("failed", "configuration", str(error), "mend the key that is named")
        return
    yield Finding("ok", "configuration", f"{config_path}: {len(config.data_types)} data types")
    yield from _messages(config)
    for node in config.nodes:
        yield from _folders(NodePaths(config, node), config.data_types)
    if config.http.enabled:
        yield _port("http.port", config.http.host, config.http.port)
    yield _broker(config)


def _python() -> Finding:
    found = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("ok", "Python", found)
    return Finding("failed", "Python", found, "Python 3.11, 3.12 or 3.13 is needed")


def _engines() -> Iterator[Finding]:
    yield _package("onnxruntime", "failed", "pip install --force-reinstall repertory")
    yield _package(
        "tf2onnx", "warning", "for TensorFlow models: pip install 'repertory[tensorflow]'"
    )
    yield _package("pypmml", "warning", "for rare kinds of PMML: pip install 'repertory[pmml]'")
    yield _package("pyarrow", "warning", "to replay Parquet: pip install 'repertory[parquet]'")


def _package(name: str, without: Level, mend: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding(without, name, "not installed", mend)


def _messages(config: ClusterConfig) -> Iterator[Finding]:
    for name, data_type in config.data_types.items():
        module, _, message = data_type.message.partition(":")
        what = f"data_types.{name}.message"
        try:
            fields = getattr(importlib.import_module(module), message).DESCRIPTOR.fields_by_name
        except (ImportError, AttributeError) as error:
            yield Finding("failed", what, f"{data_type.message}: {error}", "is it on PYTHONPATH?")
            continue
        missing = [feature for feature in data_type.features if feature not in fields]
        if missing:
            yield Finding("failed", what, f"has no fields {missing}", f"it has {list(fields)}")
        else:
            yield Finding("ok", what, data_type.message)


def _folders(paths: NodePaths, data_types: Iterable[str]) -> Iterator[Finding]:
    existing = next(folder for folder in (paths.root, *paths.root.parents) if folder.exists())
    if os.access(existing, os.W_OK):
        yield Finding("ok", "data_dir", str(paths.root))
    else:
        yield Finding(
            "failed", "data_dir", f"{existing} cannot be written", "choose another data_dir"
        )
    doors = [paths.router_door, *(paths.serving_door(name) for name in data_types)]
    longest = max(doors, key=lambda door: len(os.fsencode(door)))
    if len(os.fsencode(longest)) > SOCKET_PATH_BYTES:
        yield Finding("failed", "sockets", f"{longest} is too long a path", "set TMPDIR=/tmp")


def _port(key: str, host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            mend = "a running node is well; otherwise choose another port"
            return Finding("warning", key, f"{host}:{port}: {error.strerror}", mend)
    return Finding("ok", key, f"{host}:{port} is free")


def _broker(config: ClusterConfig) -> Finding:
    servers = config.kafka.bootstrap_servers
    if not servers:
        return Finding("ok", "kafka", "not configured; HTTP works without it")
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=BROKER_SECONDS):
                return Finding("ok", "kafka", f"{server} answers")
        except (OSError, ValueError):
            continue
    mend = "is it running? `repertory broker` starts one for development"
    return Finding("failed", "kafka", f"nobody answers at {servers}", mend)
