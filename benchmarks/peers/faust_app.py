"""The job in Faust: an agent that takes events in batches and awaits that results are written."""

import asyncio
import sys
from typing import Any

import faust
import mode.loop
from benchmarks.peers.scoring import Incoming, Scorer
from benchmarks.stream_job import read_job

BATCH = 1000
WITHIN_SECONDS = 0.05  # that a record waits for others

mode.loop.use("uvloop")

job = read_job()
scorer = Scorer(job)
app = faust.App(
    job.group,
    broker=f"kafka://{job.bootstrap}",
    store="memory://",
    datadir=f"{job.folder}/faust",
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    producer_compression_type="lz4",
    # By default a request has 16 KiB, and the next one of a partition waits for it; these are what
    # the peers' librdkafka has.
    producer_max_batch_size=1_000_000,
    producer_linger=0.005,
    processing_guarantee="exactly_once" if job.exactly_once else "at_least_once",
    key_serializer="raw",
    value_serializer="raw",
    web_enabled=False,
)
records = app.topic(job.records, key_type=bytes, value_type=bytes)
results = app.topic(job.results, key_type=bytes, value_type=bytes)


@app.agent(records)
async def score(stream: Any) -> None:
    """Score batches of records."""
    async for events in stream.take_events(BATCH, within=WITHIN_SECONDS):
        messages = [event.message for event in events]
        incoming = [
            Incoming(m.value, m.partition, m.offset, int(m.timestamp * 1000)) for m in messages
        ]
        written = [
            await results.send(
                key=m.key, value=value, timestamp=m.timestamp, headers=dict(scorer.headers)
            )
            for m, value in zip(messages, scorer.results(incoming), strict=True)
        ]
        await asyncio.gather(*written)


if __name__ == "__main__":
    sys.argv[1:] = ["worker", "--loglevel", "warn", "--without-web"]
    app.main()
