"""The Kafka face of a node: `python -m repertory.streams.face --config FILE --node NAME`."""

import asyncio
import os
import sys
from typing import Any

import structlog

from repertory.actors.client import RouterClient
from repertory.actors.collector import spare_what_is_here
from repertory.actors.process import NodeProcess, run_process
from repertory.actors.troubles import Troubles
from repertory.config import MEBIBYTE, ClusterConfig
from repertory.errors import RepertoryError
from repertory.streams.lanes import record_topics
from repertory.streams.last_words import LastWords
from repertory.streams.models_in import ModelIntake
from repertory.streams.record_stream import RecordStream
from repertory.streams.topics import NewTopicSpec, TopicWatch

# The supervisor kills a face three seconds after it asked it to end. A broker that is away can
# keep librdkafka from ending for longer; nothing is lost then, what is not committed is read again.
END_SECONDS = 2.7

# Before a face counts as well whose predecessor ended by itself: it may well meet the same fate.
PROBATION_SECONDS = 10.0
# How often it is asked whether the consumer has its place in the group, until it has.
ASK_SECONDS = 0.1

COLLECT_AFTER_OBJECTS = 100_000
PARTITIONS = 4
# A result holds its record, which is as large as Kafka's default allows, or nearly.
OUTPUT_CONFIG = {"max.message.bytes": str(2 * 1024 * 1024)}

log = structlog.get_logger(__name__)


async def run_face(process: NodeProcess, stop: asyncio.Event) -> None:
    """Move records and models until `stop` is set.

    1. Wait for the brokers and the topics. 2. Read, score and write, and take models in. 3. Stop:
    finish what is in flight, commit, leave. Ends the process with 1 when only a new one can go on.
    The router is told throughout how it goes.
    """
    client = RouterClient(process.paths.router_door, role="streams")
    last_words = LastWords(process.paths.run / "streams.ended")
    face = _Face(process, client, last_words.take())
    failures: list[str] = []
    try:
        async with client, asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(face.tell())
            watchdog = tasks.create_task(_end_in_time(stop))
            await face.run(stop)
            telling.cancel()
            watchdog.cancel()
    except* RepertoryError as group:
        failures += _messages(group)
    if failures:
        log.error("a new process goes on from what is committed", why="; ".join(failures))
        last_words.leave("; ".join(failures))
    # Nothing is left to be done. Threads that wait for brokers would keep an orderly end waiting.
    sys.stderr.flush()
    os._exit(1 if failures else 0)


class _Face:
    def __init__(
        self, process: NodeProcess, client: RouterClient, predecessor_failed: str | None
    ) -> None:
        self._process = process
        self._client = client
        self._troubles = Troubles()
        self._predecessor_failed = predecessor_failed
        self._stream: RecordStream | None = None
        self._reads_nothing = False

    async def run(self, stop: asyncio.Event) -> None:
        config = self._process.config
        records = record_topics(config)
        watch = TopicWatch(config.kafka, wanted_topics(config), self._troubles, records=records)
        topics = await watch.ready(stop)
        if topics is None:
            return
        if records:
            self._stream = RecordStream(
                config,
                self._client,
                node=self._process.node,
                topics=topics,
                troubles=self._troubles,
                done=self._process.progress.done,
            )
        else:  # Kafka is there for models only, and records come over HTTP
            self._reads_nothing = True
        async with asyncio.TaskGroup() as work:
            background = [work.create_task(watch.run()), work.create_task(self._prove())]
            async with asyncio.TaskGroup() as streams:
                streams.create_task(self._stream.run(stop) if self._stream else stop.wait())
                if takes_models(config):
                    dead_letters = topics[config.kafka.dead_letters_topic]
                    intake = ModelIntake(self._process, self._client, dead_letters)
                    streams.create_task(intake.run(stop))
            for task in background:
                task.cancel()

    async def tell(self) -> None:
        """Tell the router how it goes, until cancelled.

        The node is not ready before; so nothing is told until records can be read, or it is known
        why they cannot.
        """
        while not self._troubles and not self._is_ready():
            await asyncio.sleep(ASK_SECONDS)
            if self._stream is not None:
                self._stream.report()  # which notes troubles
        await self._troubles.tell(self._client, self._report)

    def _is_ready(self) -> bool:
        return self._reads_nothing if self._stream is None else self._stream.joined

    async def _prove(self) -> None:
        """Count as in trouble for a while when the last process ended by itself."""
        if self._predecessor_failed is not None:
            sentence = f"the Kafka face ended and was started again: {self._predecessor_failed}"
            self._troubles.note("the last process", sentence)
            await asyncio.sleep(PROBATION_SECONDS)
            self._troubles.note("the last process", None)

    def _report(self) -> dict[str, Any]:
        if self._stream is None:
            return {}
        self._client.tell("metrics", exposition=self._stream.exposition())
        return self._stream.report()


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


async def _end_in_time(stop: asyncio.Event) -> None:
    await stop.wait()
    await asyncio.sleep(END_SECONDS)
    log.warning("the brokers do not answer in time; what is not committed is read again")
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """Run the face as a process of its node."""
    # Millions of records a minute come and go: looking for cycles took a fifth of the time.
    spare_what_is_here(COLLECT_AFTER_OBJECTS)
    run_process("streams", run_face)


if __name__ == "__main__":
    main()
