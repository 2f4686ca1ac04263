"""What hosts share is enough to serve: on an empty disk, or an old one, before the journal is read."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until
from repertory.streams.devbroker.process import BrokerProcess

Ask = Callable[..., Any]

PATIENCE = 60.0  # seconds; nodes come up slowly on a busy machine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(data_dir=tmp_path / "broker", options=["--partitions", "0"]) as broker:
        yield broker


@pytest.fixture
def node(
    broker: BrokerProcess,
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    tmp_path: Path,
) -> LocalNode:
    """Start a node whose journal is a topic, and whose snapshots are shared."""
    config = write_config(
        http={"enabled": False},
        journal={"kind": "kafka"},
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        snapshots={"url": f"file://{tmp_path}/shared"},
    )
    return local_node(config=config)


def wait_shared(tmp_path: Path, count: int) -> None:
    wait_until(
        lambda: len(list(tmp_path.glob("shared/wine/*.snapshot"))) == count,
        "it is shared",
        PATIENCE,
    )


def end(node: LocalNode) -> None:
    node.stop()
    node.wait_gone()


def keeper_log(node: LocalNode) -> str:
    return "".join(path.read_text() for path in node.paths.logs.glob("keeper*"))


def test_a_node_with_an_empty_disk_serves_before_it_can_read_the_journal(
    node: LocalNode,
    broker: BrokerProcess,
    ask: Ask,
    publish: Ask,
    wine_models: Path,
    tmp_path: Path,
) -> None:
    publish(node, wine_models / "05-mlp.onnx")
    publish(node, wine_models / "02-random-forest.onnx")
    before = ask(node, "state", data_type="wine")
    wait_shared(tmp_path, 2)
    end(node)
    shutil.rmtree(node.paths.root)
    broker.kill()  # so that it can only come from the store
    node.start()
    wait_until(lambda: ask(node, "models")["models"], "the wine is served", PATIENCE)
    after = ask(node, "state", data_type="wine")
    same = ("version", "sha256", "since", "name")
    assert [after[key] for key in same] == [before[key] for key in same]


def test_what_is_shared_is_not_checked_again_when_the_journal_is_read(
    node: LocalNode, ask: Ask, publish: Ask, wine_models: Path, tmp_path: Path
) -> None:
    publish(node, wine_models / "05-mlp.onnx")
    publish(node, wine_models / "02-random-forest.onnx")
    before = ask(node, "state", data_type="wine")
    wait_shared(tmp_path, 2)
    end(node)
    shutil.rmtree(node.paths.root)
    node.start()
    wait_until(lambda: serving(node, ask) == 2, "the journal is read", PATIENCE)
    after = ask(node, "state", data_type="wine")
    assert (after["version"], after["since"]) == (before["version"], before["since"])
    assert keeper_log(node).count("no check") == 2


def serving(node: LocalNode, ask: Ask) -> int | None:
    """Return the version that the catalog says is on stage."""
    versions = ask(node, "versions", data_type="wine")["versions"]
    return next((each["version"] for each in versions if each["state"] == "SERVING"), None)


def test_a_node_that_was_away_serves_the_newer_one(
    node: LocalNode,
    broker: BrokerProcess,
    ask: Ask,
    publish: Ask,
    wine_models: Path,
    tmp_path: Path,
) -> None:
    publish(node, wine_models / "05-mlp.onnx")
    end(node)
    shutil.copytree(node.paths.root, tmp_path / "old")
    node.start()
    wait_until(lambda: ask(node, "status")["ready"], "the wine is served", PATIENCE)
    publish(node, wine_models / "02-random-forest.onnx")
    wait_shared(tmp_path, 2)
    end(node)
    shutil.rmtree(node.paths.root)
    (tmp_path / "old").rename(node.paths.root)  # as if others had published meanwhile
    broker.kill()
    node.start()
    wait_until(lambda: ask(node, "models")["models"], "the wine is served", PATIENCE)
    assert ask(node, "state", data_type="wine")["version"] == 2
