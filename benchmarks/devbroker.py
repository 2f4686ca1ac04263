"""How fast a Kafka broker is to confluent-kafka: `python -m benchmarks.devbroker`.

Measures throughput, latency, and whether either suffers from a long log. Starts a development
broker, or takes `--bootstrap HOST:PORT`.
"""

import argparse
import contextlib
import os
import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from repertory.streams.devbroker.process import BrokerProcess

_PARTITIONS = 4
_PATIENCE = 120.0
_VALUE = os.urandom(100).hex().encode()  # 200 bytes


def _topic(bootstrap: str, partitions: int) -> str:
    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    return topic


def _consumer(bootstrap: str, topic: str, partitions: int, *, offset: int = 0) -> Any:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, index, offset) for index in range(partitions)])
    return consumer


def _produce(producer: Any, topic: str, count: int, *, partitions: int = 1) -> float:
    """Produce, wait for all acknowledgements, return the seconds it took."""
    failed: list[Any] = []
    begin = time.perf_counter()
    for number in range(count):
        while True:
            try:
                producer.produce(
                    topic,
                    _VALUE,
                    partition=number % partitions,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1000 == 0:
            producer.poll(0)
    left = producer.flush(_PATIENCE)
    if left or failed:
        raise SystemExit(f"{left} records unacknowledged, {len(failed)} failed: {failed[:1]}")
    return time.perf_counter() - begin


def _consume(consumer: Any, count: int) -> float:
    """Consume so many records, return the seconds it took."""
    begin = time.perf_counter()
    seen = 0
    while seen < count:
        messages = consumer.consume(min(5000, count - seen), 0.1)
        seen += sum(1 for message in messages if message.error() is None)
        if time.perf_counter() - begin > _PATIENCE:
            raise SystemExit(f"{seen} of {count} records came within {_PATIENCE:g} s")
    return time.perf_counter() - begin


def throughput(bootstrap: str, count: int) -> None:
    """Print records a second, 200 bytes each, in and out."""
    print(f"throughput, {count:,} records of {len(_VALUE)} bytes, {_PARTITIONS} partitions")
    for label, config in (
        ("acks=all", {"acks": "all"}),
        ("acks=all lz4", {"compression.type": "lz4"}),
        ("idempotent", {"enable.idempotence": True}),
    ):
        topic = _topic(bootstrap, _PARTITIONS)
        common = {"bootstrap.servers": bootstrap, "linger.ms": 5}
        common["queue.buffering.max.messages"] = 200_000
        produced = _produce(Producer({**common, **config}), topic, count, partitions=_PARTITIONS)
        consumer = _consumer(bootstrap, topic, _PARTITIONS)
        consumed = _consume(consumer, count)
        consumer.close()
        print(f"  {label:14} in {count / produced:12,.0f}/s   out {count / consumed:12,.0f}/s")


def latency(bootstrap: str, count: int) -> None:
    """Print how long one record takes to be acknowledged, and to be read."""
    topic = _topic(bootstrap, 1)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    consumer = _consumer(bootstrap, topic, 1)
    consumer.poll(1.0)
    acknowledged, read = [], []
    for _ in range(count):
        begin = time.perf_counter()
        producer.produce(topic, b"x")
        producer.flush(10)
        acknowledged.append((time.perf_counter() - begin) * 1000)
        while consumer.poll(5) is None:
            pass
        read.append((time.perf_counter() - begin) * 1000)
    consumer.close()
    print(f"latency, {count} single records, ms")
    for label, values in (("acknowledged", acknowledged), ("read", read)):
        cuts = statistics.quantiles(values, n=100)
        print(f"  {label:14} p50 {cuts[49]:.2f}   p99 {cuts[98]:.2f}")


def backlog(bootstrap: str, sizes: tuple[int, ...]) -> None:
    """Print what a log of many tiny batches costs."""
    topic = _topic(bootstrap, 1)
    config = {"bootstrap.servers": bootstrap, "linger.ms": 0, "batch.num.messages": 1}
    producer = Producer({**config, "queue.buffering.max.messages": 1_000_000})
    print("a log of batches with one record each, seconds")
    total = 0
    for size in sizes:
        written = _produce(producer, topic, size - total)
        total = size
        tail = _consumer(bootstrap, topic, 1, offset=size - 1)
        last = _consume(tail, 1)
        tail.close()
        whole = _consumer(bootstrap, topic, 1)
        everything = _consume(whole, size)
        whole.close()
        print(
            f"  {size:9,} written in {written:.1f}, last one read in {last:.3f}, "
            f"all in {everything:.2f}"
        )


@contextlib.contextmanager
def _cluster(bootstrap: str | None, options: list[str]) -> Iterator[str]:
    if bootstrap:
        yield bootstrap
        return
    with BrokerProcess(options=options) as broker:
        yield broker.bootstrap_servers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devbroker", description=__doc__)
    parser.add_argument("--bootstrap", help="measure this cluster instead")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--no-checksums", action="store_true", help="as the broker's option")
    parser.add_argument("--durable", action="store_true", help="as the broker's option")
    arguments = parser.parse_args()
    chosen = {"--no-checksums": arguments.no_checksums, "--durable": arguments.durable}
    options = [option for option, wanted in chosen.items() if wanted]
    with _cluster(arguments.bootstrap, options) as bootstrap:
        throughput(bootstrap, arguments.records)
        latency(bootstrap, 300)
        backlog(bootstrap, (1_000, 10_000, 40_000))


if __name__ == "__main__":
    main()
