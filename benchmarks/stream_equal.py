"""Whether all contenders of the stream benchmark do the same: `python -m benchmarks.stream_equal`.

Each scores the same records; all results must be the same in score, source, record, key, timestamp
and headers, as those of the in-process limit. Exit code 1 if any are not.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from benchmarks.stream_broker import PARTITIONS, Broker, fill, running_broker
from benchmarks.stream_contender import Contender, ContenderFailed
from benchmarks.stream_contenders import CONTENDERS
from benchmarks.stream_rate import Counter, wait_for
from benchmarks.stream_stage import job_for, prepare
from benchmarks.stream_workloads import WORKLOADS, Workload
from confluent_kafka import Consumer, Message, TopicPartition

from repertory.protos.results_pb2 import ScoredRecord

COUNT = 2000
_SECONDS = 30.0  # that results may take to be readable
_DIGITS = 5  # of a float32 that batches of different sizes do not change

Results = dict[bytes, Any]


def result_of(message: Message) -> tuple[bytes, Any]:
    """Return the key of a result, and all in it that does not depend on when and who."""
    scored = ScoredRecord.FromString(message.value() or b"")
    probabilities = [(p.label, round(p.probability, _DIGITS)) for p in scored.probabilities]
    headers = sorted(header[0] for header in message.headers() or ())
    score = scored.WhichOneof("score"), scored.label or scored.value, probabilities
    times = message.timestamp()[1], scored.received_ms > 0, scored.scored_ms > 0
    source = scored.source.SerializeToString(deterministic=True)
    return message.key() or b"", (score, times, source, scored.record, scored.data_type, headers)


def results_of(bootstrap: str, topic: str) -> Results:
    """Return the results in a topic, by key, once there are as many as there must be."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "benchmark-reader",
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: Results = {}
    deadline = time.monotonic() + _SECONDS
    while len(found) < COUNT and time.monotonic() < deadline:
        messages = consumer.consume(COUNT, 0.2)
        found |= dict(result_of(message) for message in messages if message.error() is None)
    consumer.close()
    return found


def score_all(contender: Contender, workload: Workload, *, broker: Broker, folder: Path) -> Results:
    """Have a contender score the records of a workload. Raises ContenderFailed."""
    topic = f"{workload.name}-stock"
    with (
        job_for(contender, workload, broker=broker, records=topic, folder=folder) as job,
        contender.start(job) as running,
    ):
        counter = Counter(broker, contender, job)
        wait_for(counter, COUNT, running)
        counter.close()
        return results_of(broker.bootstrap, job.results)


def compare(workload: Workload, broker: Broker, folder: Path) -> bool:
    """Have all contenders score a workload, and tell who differs."""
    prepare(workload, folder / f"{workload.name}-prepared")
    topic = f"{workload.name}-stock"
    broker.create(topic)
    fill(broker.bootstrap, topic, workload.records(), COUNT, lambda _: None)
    due: Results | None = None
    good = True
    for contender in CONTENDERS.values():
        try:
            found = score_all(contender, workload, broker=broker, folder=folder)
        except ContenderFailed as error:
            print(f"{workload.name} {contender.name}: FAILED: {error}")
            good = False
            continue
        due = found if due is None else due
        equal = sum(found.get(key) == result for key, result in due.items())
        print(f"{workload.name} {contender.name}: {equal} of {COUNT} results are as they must be")
        good = good and equal == COUNT
    return good


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--broker", default="apache", show_default=True, help="apache, embedded, HOST:PORT")
def main(broker: str) -> None:
    """Compare and print."""
    with tempfile.TemporaryDirectory(prefix="rb-") as name, running_broker(broker) as running:
        outcomes = [compare(make(), running, Path(name)) for make in WORKLOADS.values()]
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
