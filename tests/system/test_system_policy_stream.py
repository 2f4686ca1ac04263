"""Policies over Kafka, exactly once: published like models, told in each result, whatever dies."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.system.kafka_wines import Stream, flowing

from repertory.actors.local_node import LocalNode, wait_until
from repertory.streams.devbroker.process import BrokerProcess
from repertory.streams.publish import publish_model, publish_policy

FILES = {"forest": "02-random-forest.onnx", "mlp": "05-mlp.onnx", "tree": "01-decision-tree.pmml"}
MAJORITY = '{"policy": "majority", "slots": ["forest", "mlp", "tree"], "deadlineMs": 500}'


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(data_dir=tmp_path / "broker") as broker:
        yield broker


def policies(node: LocalNode) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.get("/policies/wine/versions")["policies"]
    return found


def pids(node: LocalNode) -> list[int]:
    """Return the processes of the policy and of its slots."""
    wine = node.get("/status")["data_types"]["wine"]
    return [wine["policy"]["pid"], *(each["pid"] for each in wine["slots"].values())]


def test_each_record_has_one_result_that_tells_the_decision_while_actors_are_killed(
    broker: BrokerProcess,
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    wine_models: Path,
    pytestconfig: pytest.Config,
) -> None:
    servers, chance = broker.bootstrap_servers, random.Random(1906)
    config = write_config(kafka={"delivery": "exactly-once"})
    node = local_node("--broker", servers, config=config)
    node.wait_until(ready=False)
    for name, file in FILES.items():
        publish_model(wine_models / file, bootstrap_servers=servers, data_type="wine", name=name)
    publish_policy("wine", MAJORITY, bootstrap_servers=servers)
    wait_until(lambda: [each["state"] for each in policies(node)] == ["IN_FORCE"], "a policy", 60)
    with flowing(servers) as stream:
        for kill in range(int(pytestconfig.getoption("--kills"))):
            time.sleep(chance.uniform(0.3, 1.0))  # the moment is the input, drawn from the seed
            os.kill(pids(node)[kill % 4], signal.SIGKILL)
            wait_until(partial(_more_than, stream, len(stream.results) + 500), "more results")
    assert stream.produced == stream.results
    [version] = {decision.policy_version for decision in stream.decisions}
    assert version == policies(node)[0]["version"]
    assert len(stream.decisions) == len(stream.produced)
    assert {decision.slot for decision in stream.decisions} <= set(FILES)
    assert all(set(decision.asked) == set(FILES) for decision in stream.decisions)


def _more_than(stream: Stream, count: int) -> bool:
    return len(stream.results) > count
