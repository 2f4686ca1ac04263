"""kill -9 of the Kafka face and the keeper under load: every record of the topic gets a result."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.kafka_wines import Stream, flowing

from repertory.actors.local_node import LocalNode, wait_until
from repertory.streams.devbroker.process import BrokerProcess
from repertory.streams.publish import publish_model

BACK_SECONDS = 5.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(data_dir=tmp_path / "broker") as broker:
        yield broker


def pid_of(node: LocalNode, module: str) -> int | None:
    for pid in node.processes():
        if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return None


@pytest.mark.parametrize("module", ["repertory.streams.face", "repertory.actors.keeper"])
def test_every_record_gets_a_result_when_a_process_is_killed(
    module: str,
    broker: BrokerProcess,
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    wine_models: Path,
    pytestconfig: pytest.Config,
) -> None:
    chance, slowest = random.Random(1599), 0.0
    node = local_node("--broker", broker.bootstrap_servers, config=write_config())
    node.wait_until(ready=False)
    model = wine_models / "05-mlp.onnx"
    publish_model(model, bootstrap_servers=broker.bootstrap_servers, data_type="wine")
    node.wait_until(ready=True)
    with flowing(broker.bootstrap_servers) as stream:
        for _ in range(int(pytestconfig.getoption("--kills"))):
            time.sleep(chance.uniform(0.3, 1.0))  # the moment is the input, drawn from the seed
            wait_until(lambda: pid_of(node, module), "it runs")
            os.kill(pid_of(node, module) or 0, signal.SIGKILL)
            killed = time.time()
            slowest = max(slowest, seconds_until_results(stream, killed))
    doubled = sum(count - 1 for count in stream.results.values())
    print(f"{len(stream.produced):,} records, {doubled:,} doubled, slowest return {slowest:.2f} s")
    assert not stream.results.keys() - stream.produced.keys()
    assert slowest < BACK_SECONDS


def seconds_until_results(stream: Stream, killed: float) -> float:
    """Wait until records that came after the kill have results."""
    places = set(stream.produced)
    wait_until(lambda: set(stream.results) - places, "later records have results", 30)
    return time.time() - killed
