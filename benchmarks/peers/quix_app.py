"""The job in Quix Streams: a streaming data frame whose rows are scored one by one.

Quix Streams hands rows to functions singly; what it collects into batches (windows) is by key.
"""

from typing import Any

from benchmarks.peers.scoring import Incoming, Scorer
from benchmarks.stream_job import read_job
from quixstreams import Application, message_context


def main() -> None:
    """Do the job until SIGTERM."""
    job = read_job()
    scorer = Scorer(job)
    app = Application(
        broker_address=job.bootstrap,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if job.exactly_once else "at-least-once",
        producer_extra_config={"compression.type": "lz4"},
        state_dir=job.folder,
        loglevel="WARNING",
    )
    records = app.topic(job.records, key_deserializer="bytes", value_deserializer="bytes")
    results = app.topic(job.results, key_serializer="bytes", value_serializer="bytes")

    def score(value: bytes, _key: Any, timestamp: int, _headers: Any) -> bytes:
        context = message_context()
        return scorer.results([Incoming(value, context.partition, context.offset, timestamp)])[0]

    rows = app.dataframe(records).apply(score, metadata=True)
    rows = rows.set_headers(lambda *_: scorer.headers)
    rows.to_topic(results)
    app.run()


if __name__ == "__main__":
    main()
