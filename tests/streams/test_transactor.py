"""A transactional producer that no broker or no library answers."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from repertory.streams import transactor
from repertory.streams.sink import DeliveryFailed
from repertory.streams.transactor import Transactor

NO_BROKER = {"bootstrap.servers": "127.0.0.1:1", "transactional.id": "t", "log_level": 0}


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def test_a_call_that_never_comes_back_ends_the_face(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactor, "HANG_SECONDS", 0.05)
    producer = Transactor(NO_BROKER, thread)
    back = Event()
    try:
        with pytest.raises(DeliveryFailed, match="hangs in the Kafka client"):
            await producer.begin(lambda: back.wait(10))
    finally:
        back.set()


@pytest.mark.parametrize("later", range(4))
async def test_one_that_is_cancelled_in_the_moment_of_the_answer_is_cancelled(
    thread: ThreadPoolExecutor, later: int
) -> None:
    producer = Transactor(NO_BROKER, thread)
    beginning = asyncio.create_task(producer.begin(lambda: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    thread.submit(lambda: None).result()  # the loop stands still until the call has come back
    for _ in range(later):
        await asyncio.sleep(0)
    assert beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
