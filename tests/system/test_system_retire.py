"""A data type is retired, and stays so through kill -9 of the whole node, with every journal."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from repertory.actors.local_node import LocalNode, wait_until
from repertory.errors import NoModel
from repertory.streams.devbroker.process import BrokerProcess


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(data_dir=tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(params=["sqlite", "kafka"])
def node(
    request: pytest.FixtureRequest,
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    wine_models: Path,
) -> LocalNode:
    """A node that serves wines by version 1."""
    sections: dict[str, object] = {"http": {"enabled": False}, "journal": {"kind": request.param}}
    if request.param == "kafka":
        broker: BrokerProcess = request.getfixturevalue("broker")
        sections["kafka"] = {"bootstrap_servers": broker.bootstrap_servers}
    node = local_node(config=write_config(**sections))
    assert publish(node, wine_models / "05-mlp.onnx")["state"] == "SERVING"
    return node


Ask = Callable[..., Any]


def is_retired(node: LocalNode, ask: Ask) -> bool:
    """Tell whether wine has no model, and says that it was retired."""
    try:
        ask(node, "state", data_type="wine")
    except NoModel as error:
        return "was retired at" in str(error)
    return False


def restart(node: LocalNode) -> None:
    """End all processes of a node at once, as a loss of power would, and start it again."""
    node.kill()
    node.wait_gone()
    node.start()


def test_what_is_retired_stays_so_through_a_crash_until_it_is_rolled_back_to(
    node: LocalNode, ask: Ask
) -> None:
    assert ask(node, "retire", data_type="wine")["state"] == "RETIRED"
    for _ in range(2):
        assert is_retired(node, ask)
        assert ask(node, "models")["models"] == []
        restart(node)
    assert is_retired(node, ask)
    [version] = ask(node, "versions", data_type="wine")["versions"]
    assert version["state"] == "RETIRED"
    answer = ask(node, "rollback", data_type="wine", version=1)
    assert answer["state"] == "SERVING"
    restart(node)
    assert ask(node, "state", data_type="wine")["version"] == 1


def test_a_retirement_that_only_the_journal_knows_is_carried_out(
    node: LocalNode, ask: Ask, publish: Ask, wine_models: Path
) -> None:
    ask(node, "retire", data_type="wine")
    node.kill()
    node.wait_gone()
    for file in (node.paths.snapshots / "wine").iterdir():
        file.unlink()
    # With those it is as if the node had died at once.
    for file in node.paths.catalog.parent.glob(f"{node.paths.catalog.name}*"):
        file.unlink()
    node.start()
    wait_until(lambda: is_retired(node, ask), "wine is retired")
    assert publish(node, wine_models / "02-random-forest.onnx")["state"] == "SERVING"


@pytest.mark.parametrize("node", ["kafka"], indirect=True)
def test_a_tombstone_on_the_journal_topic_retires_its_data_type(
    node: LocalNode, ask: Ask, broker: BrokerProcess
) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce("models", None, b"beer")  # declared by nobody: passed over
    producer.produce("models", None, b"wine")
    assert producer.flush(20) == 0
    wait_until(lambda: is_retired(node, ask), "wine is retired")
    restart(node)
    assert is_retired(node, ask)
    assert ask(node, "rollback", data_type="wine", version=1)["state"] == "SERVING"
