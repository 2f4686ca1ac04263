"""A transactional producer that no broker or no library answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from repertory.streams import transactor
from repertory.streams.sink import DeliveryFailed
from repertory.streams.transactor import Transactor


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def test_a_call_that_never_comes_back_ends_the_face(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactor, "HANG_SECONDS", 0.05)
    properties = {"bootstrap.servers": "127.0.0.1:1", "transactional.id": "t", "log_level": 0}
    producer = Transactor(properties, thread)
    back = Event()
    try:
        with pytest.raises(DeliveryFailed, match="hangs in the Kafka client"):
            await producer.begin(lambda: back.wait(10))
    finally:
        back.set()
