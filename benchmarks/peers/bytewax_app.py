"""The job in Bytewax: a dataflow whose batches, as they come from Kafka, are scored whole.

Run as the documentation of recovery says: snapshots of the offsets at the default interval.
"""

from pathlib import Path
from typing import Any

import bytewax.operators as op
from benchmarks.peers.scoring import Incoming, Scorer
from benchmarks.stream_job import Job, read_job
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main


def dataflow(job: Job) -> Dataflow:
    """Return the dataflow of a job."""
    scorer = Scorer(job)

    def score(batch: list[Any]) -> list[Any]:
        records = [Incoming(m.value, m.partition, m.offset, m.timestamp[1]) for m in batch]
        return [
            KafkaSinkMessage(m.key, value, headers=scorer.headers, timestamp=m.timestamp[1])
            for m, value in zip(batch, scorer.results(records), strict=True)
        ]

    flow = Dataflow("benchmark")
    incoming = kop.input("records", flow, brokers=[job.bootstrap], topics=[job.records])
    scored = op.flat_map_batch("score", incoming.oks, score)
    config = {"compression.type": "lz4", "enable.idempotence": "true"}
    kop.output("results", scored, brokers=[job.bootstrap], topic=job.results, add_config=config)
    return flow


def main() -> None:
    """Do the job until SIGTERM."""
    job = read_job()
    recovery = Path(job.folder) / "recovery"
    recovery.mkdir(exist_ok=True)
    init_db_dir(recovery, 1)
    cli_main(dataflow(job), recovery_config=RecoveryConfig(str(recovery)))


if __name__ == "__main__":
    main()
