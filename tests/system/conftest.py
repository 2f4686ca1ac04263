"""A stream of wines through a node's door: what went in, and what became of each record."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson
import pytest

from repertory.actors.batch import PolicyReport, RecordBatch, RecordFailed, ScoredRecords
from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode, wait_until
from repertory.errors import Overloaded, RequestFailed
from repertory.protos.winerecord_pb2 import WineRecord


@dataclass
class Stream:
    """Batches sent one after the other in each of several lanes, which stand for partitions."""

    node: LocalNode
    rate: int  # records a second, over all lanes
    lanes: int = 4
    batch: int = 50
    sent: int = 0
    resent: int = 0
    unscored: int = 0  # records that were answered by a failure of their own
    answered: int = 0
    # Per lane: (version, epoch seconds when it was sent, and when the answer came)
    replies: list[list[tuple[int, float, float]]] = field(default_factory=list)
    reports: list[PolicyReport | None] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)  # of the reports
    failures: list[str] = field(default_factory=list)
    last_reply: float = 0.0  # monotonic

    async def run(self, stop: Event) -> None:
        """Send until `stop` is set; every record sent is waited for."""
        records = [
            WineRecord(
                fixed_acidity=7 + i / 100, pH=3.3, density=0.99, alcohol=10
            ).SerializeToString()
            for i in range(self.batch)
        ]
        self.replies = [[] for _ in range(self.lanes)]
        async with RouterClient(self.node.paths.router_door, role="test") as client:
            lanes = (self._lane(client, lane, records, stop) for lane in range(self.lanes))
            await asyncio.gather(*lanes)

    async def _lane(
        self, client: RouterClient, lane: int, records: list[bytes], stop: Event
    ) -> None:
        period = self.lanes * self.batch / self.rate
        due = time.monotonic()
        while not stop.is_set():
            began = time.time()
            self.sent += len(records)
            scored = await self._score(client, records)
            self.answered += len(scored.outcomes)
            self.unscored += sum(isinstance(each, RecordFailed) for each in scored.outcomes)
            self.last_reply = time.monotonic()
            self.replies[lane].append((scored.model.version, began, time.time()))
            self.reports.append(scored.policy)
            self.times.append((began, time.time()))
            due += period
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _score(self, client: RouterClient, records: list[bytes]) -> ScoredRecords:
        while True:
            try:
                return await client.score(RecordBatch("wine", records), timeout=20)
            except Overloaded:
                await asyncio.sleep(0.01)
            except RequestFailed as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                self.resent += len(records)
                await asyncio.sleep(0.05)


@contextmanager
def _streaming(node: LocalNode, rate: int) -> Iterator[Stream]:
    stream, stop = Stream(node, rate), Event()
    thread = Thread(target=lambda: asyncio.run(stream.run(stop)))
    thread.start()
    try:
        wait_until(lambda: stream.answered, "the first answer")
        yield stream
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not thread.is_alive(), "a batch was never answered"


@pytest.fixture
def streaming() -> Callable[..., Any]:
    """Stream wines in the background of a `with` block; at its end all that was sent is answered."""
    return _streaming


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Ask a node's router, from a test that is not asynchronous."""

    def ask_once(node: LocalNode, subject: str, timeout: float = 60, **data: Any) -> Any:
        async def body() -> Any:
            async with RouterClient(node.paths.router_door, role="test") as client:
                return await client.ask(subject, timeout=timeout, **data)

        return asyncio.run(body())

    return ask_once


@pytest.fixture
def set_policy(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Put a policy of wines in force and return what became of it."""

    def put(node: LocalNode, policy: str, *slots: str, **settings: Any) -> Any:
        document = orjson.dumps({"policy": policy, "slots": slots, **settings}).decode()
        return ask(node, "policy", data_type="wine", settings=document)

    return put


@pytest.fixture
def publish(ask: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Publish a model file and return what became of it."""

    def publish_file(node: LocalNode, file: Path, **data: Any) -> Any:
        node.paths.create()
        spooled = node.paths.spool / f"test-{time.monotonic_ns()}"
        spooled.write_bytes(file.read_bytes())
        data = {"data_type": "wine", "name": file.stem, **data}
        try:
            return ask(node, "publish", content_file=str(spooled), wait=True, **data)
        finally:
            spooled.unlink()

    return publish_file
