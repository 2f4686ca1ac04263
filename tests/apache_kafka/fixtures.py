"""The brokers of the tests: the embedded one and Apache Kafka, each started once by a worker.

Registered in tests/conftest.py. Topics and groups of a test have names that no other test uses.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest
from tests.apache_kafka.existing import VARIABLE, ExistingCluster
from tests.apache_kafka.jars import ApacheKafkaMissing, fetch_jars, java
from tests.apache_kafka.server import ApacheKafka

from repertory.streams.devbroker.process import BrokerProcess

Broker = BrokerProcess | ApacheKafka | ExistingCluster
KINDS = ("embedded", "apache")


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Broker]:
    """The embedded broker, which creates no topics by itself."""
    with (
        TemporaryDirectory() as folder,
        BrokerProcess(data_dir=Path(folder), options=["--partitions", "0"]) as broker,
    ):
        yield broker


@pytest.fixture(scope="session")
def apache_kafka_installed() -> None:
    """Skip tests without Java or Maven; on CI, where Apache Kafka is obligatory, fail them."""
    try:
        java()
        fetch_jars()
    except ApacheKafkaMissing as error:
        _do_without(str(error))


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}\n(CI is set: there, Apache Kafka is obligatory)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def apache_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Apache Kafka, which creates no topics by itself, or the cluster that is to be used instead."""
    if existing := os.environ.get(VARIABLE):
        yield ExistingCluster(existing)
        return
    request.getfixturevalue("apache_kafka_installed")
    settings = {"auto.create.topics.enable": "false"}
    with (
        TemporaryDirectory() as folder,
        ApacheKafka(data_dir=Path(folder), settings=settings) as broker,
    ):
        yield broker


@pytest.fixture(params=KINDS)
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker of each kind; a test may stop it, and finds it as another left it: running."""
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    yield broker
    set_right(broker)


def set_right(broker: Broker) -> None:
    """Have a broker run again that a test has stopped."""
    if not isinstance(broker, ExistingCluster):
        broker.resume()
        if broker.pid is None:
            broker.start()
