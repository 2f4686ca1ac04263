"""The Kafka face of a node: `python -m repertory.streams.face --config FILE --node NAME`."""

import asyncio
import os
import sys

import structlog

from repertory.actors.client import RouterClient
from repertory.actors.process import NodeProcess, run_process
from repertory.config import MEBIBYTE, ClusterConfig
from repertory.errors import RepertoryError
from repertory.streams.models_in import ModelIntake
from repertory.streams.record_stream import RecordStream, record_topics
from repertory.streams.topics import NewTopicSpec, wait_for_topics

REPORT_SECONDS = 1.0
# The supervisor kills a face three seconds after it asked it to end. A broker that is away can
# keep librdkafka from ending for longer; nothing is lost then, what is not committed is read again.
END_SECONDS = 2.7

PARTITIONS = 4
# A result holds its record, which is as large as Kafka's default allows, or nearly.
OUTPUT_CONFIG = {"max.message.bytes": str(2 * 1024 * 1024)}

log = structlog.get_logger(__name__)


async def run_face(process: NodeProcess, stop: asyncio.Event) -> None:
    """Move records and models until `stop` is set.

    1. Wait for the brokers and the topics. 2. Read, score and write, and take models in. 3. Stop:
    finish what is in flight, commit, leave. Ends the process with 1 when only a new one can go on.
    """
    kafka = process.config.kafka
    topics = await wait_for_topics(kafka, wanted_topics(process.config), stop)
    if topics is None:
        return
    client = RouterClient(process.paths.router_door, role="streams")
    failures: list[str] = []
    try:
        async with client, asyncio.TaskGroup() as tasks:
            watchdog = tasks.create_task(_end_in_time(stop))
            stream = RecordStream(process.config, client, node=process.node, topics=topics)
            reporting = tasks.create_task(_report(client, stream))
            async with asyncio.TaskGroup() as work:
                work.create_task(stream.run(stop))
                if takes_models(process.config):
                    intake = ModelIntake(process, client, topics[kafka.dead_letters_topic])
                    work.create_task(intake.run(stop))
            reporting.cancel()
            watchdog.cancel()
    except* RepertoryError as group:
        failures += _messages(group)
    if failures:
        log.error("a new process goes on from what is committed", why="; ".join(failures))
        sys.exit(1)


def wanted_topics(config: ClusterConfig) -> dict[str, NewTopicSpec]:
    """Return the topics that the face needs, and how they are made."""
    kafka = config.kafka
    wanted = {topic: NewTopicSpec(PARTITIONS, {}) for topic in record_topics(config)}
    for topic in (kafka.results_topic, kafka.dead_letters_topic):
        wanted[topic] = NewTopicSpec(PARTITIONS, OUTPUT_CONFIG)
    if takes_models(config):
        size = (config.models.max_mb + 1) * MEBIBYTE
        settings = {"max.message.bytes": str(size), "retention.ms": "-1"}
        wanted[kafka.models_topic] = NewTopicSpec(1, settings)
    return wanted


def takes_models(config: ClusterConfig) -> bool:
    """Whether models come through this face; a journal that is the topic reads it itself."""
    return config.journal.kind == "sqlite"


def _messages(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [message for each in error.exceptions for message in _messages(each)]
    return [str(error)]


async def _report(client: RouterClient, stream: RecordStream) -> None:
    while True:
        client.tell("report", **stream.report())
        client.tell("metrics", exposition=stream.exposition())
        await asyncio.sleep(REPORT_SECONDS)


async def _end_in_time(stop: asyncio.Event) -> None:
    await stop.wait()
    await asyncio.sleep(END_SECONDS)
    log.warning("the brokers do not answer in time; what is not committed is read again")
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """Run the face as a process of its node."""
    run_process("streams", run_face)


if __name__ == "__main__":
    main()
