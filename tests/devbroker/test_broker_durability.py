"""What the development broker acknowledged is there after kill -9."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from tests.devbroker.conftest import PATIENCE, Kafka, name, read, texts

from repertory.streams.devbroker.process import BrokerProcess


@pytest.fixture(params=[False, True], ids=["", "durable"])
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    """Return a broker that the test may kill."""
    options = ["--durable"] if request.param else []
    with BrokerProcess(data_dir=tmp_path / "data", options=options) as broker:
        yield broker


@pytest.fixture
def clients(broker: BrokerProcess) -> Iterator[Kafka]:
    """Return clients of that broker."""
    clients = Kafka(broker.bootstrap_servers)
    yield clients
    clients.close()


def test_topics_records_offsets_and_transactions_survive(
    broker: BrokerProcess, clients: Kafka
) -> None:
    topic, group = clients.topic(2, retention_ms="777000"), name("group")
    clients.send(topic, "plain", partition=0)
    producer = clients.transactional()
    for commit in (False, True):
        producer.begin_transaction()
        producer.produce(topic, str(commit), partition=1)
        producer.flush(PATIENCE)
        (producer.commit_transaction if commit else producer.abort_transaction)(PATIENCE)
    consumer = clients.consumer(group_id=group)
    consumer.assign([TopicPartition(topic, 1, 0)])
    consumer.commit(offsets=[TopicPartition(topic, 1, 4)], asynchronous=False)
    broker.kill()
    broker.start()
    assert texts(clients.read(topic, partition=0)) == ["plain"]
    assert texts(clients.read(topic, partition=1, isolation_level="read_committed")) == ["True"]
    heir = clients.consumer(group_id=group)
    assert heir.committed([TopicPartition(topic, 1)], timeout=PATIENCE)[0].offset == 4


def test_an_open_transaction_is_carried_on(broker: BrokerProcess, clients: Kafka) -> None:
    topic, producer = clients.topic(), clients.transactional()
    producer.begin_transaction()
    producer.produce(topic, "before")
    producer.flush(PATIENCE)
    broker.kill()
    broker.start()
    producer.produce(topic, "after")
    producer.commit_transaction(PATIENCE)
    assert texts(clients.read(topic, isolation_level="read_committed")) == ["before", "after"]


def test_a_consumer_group_carries_on(broker: BrokerProcess, clients: Kafka) -> None:
    topic, consumer = clients.topic(), clients.consumer()
    clients.send(topic, "before")
    consumer.subscribe([topic])
    assert texts(read(consumer, 1)) == ["before"]
    consumer.commit(asynchronous=False)
    broker.kill()
    broker.start()
    clients.send(topic, "after")
    assert texts(read(consumer, 1)) == ["after"]


def test_killed_again_and_again_under_load_it_loses_nothing_and_doubles_nothing(
    broker: BrokerProcess, clients: Kafka
) -> None:
    topic, chance = clients.topic(), random.Random(7)
    acknowledged: list[str] = []
    producer = clients.producer(
        enable_idempotence=True,
        linger_ms=0,
        batch_num_messages=10,
        reconnect_backoff_max_ms=100,
        retry_backoff_ms=50,
    )
    stop = threading.Event()

    def produce() -> None:
        number = 0
        while not stop.is_set():
            if len(producer) < 500:
                producer.produce(
                    topic,
                    str(number),
                    on_delivery=lambda error, m: acknowledged.append(m.value().decode()),
                )
                number += 1
            producer.poll(0 if len(producer) < 500 else 0.01)

    load = threading.Thread(target=produce)
    load.start()
    for _ in range(5):
        stop.wait(chance.uniform(0.05, 0.4))
        broker.kill()
        broker.start()
    stop.set()
    load.join()
    assert producer.flush(PATIENCE) == 0
    assert len(acknowledged) > 100
    assert texts(clients.read(topic)) == acknowledged == [str(i) for i in range(len(acknowledged))]
