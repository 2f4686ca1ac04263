"""Credit and deadlines of scoring requests."""

import asyncio
import os
import signal
from typing import Any

import aiohttp
import pytest
from tests.http.conftest import CREDIT, MAX_BATCH

from repertory.actors.local_node import LocalNode


async def score(call: Any, record: Any, *, seconds: float) -> Any:
    headers = {"X-Request-Timeout": str(seconds)}
    return await call("POST", "/score/wine", json=record, headers=headers)


@pytest.mark.usefixtures("serving")
async def test_an_actor_that_stands_still_delays_nobody_for_longer_than_allowed(
    call: Any, wine: Any
) -> None:
    status = (await call("GET", "/status")).body
    pid = status["data_types"]["wine"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert (await score(call, wine(1), seconds=0.5)).status == 504
        whole = [wine(1)] * MAX_BATCH
        patient = [asyncio.create_task(score(call, whole, seconds=30)) for _ in range(CREDIT)]
        async with asyncio.timeout(20):
            while (reply := await score(call, wine(2), seconds=0.2)).status == 504:
                pass  # the patient ones have not taken all credit yet
        assert (reply.status, "Retry-After" in reply.headers) == (429, True)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [reply.status for reply in await asyncio.gather(*patient)] == [200] * CREDIT
    again = await call("POST", "/score/wine", json=wine(7))
    assert again.body["results"] == [{"value": 7.0}]


@pytest.mark.usefixtures("serving")
async def test_requests_whose_clients_are_gone_are_given_up(
    call: Any, wine: Any, shared_node: LocalNode
) -> None:
    status = (await call("GET", "/status")).body
    pid = status["data_types"]["wine"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        async with aiohttp.ClientSession(shared_node.url) as session:
            gone = [asyncio.create_task(_score(session, wine(i))) for i in range(12)]
            await _wait_for_requests(shared_node, 12)
            for task in gone:
                task.cancel()
        await _wait_for_requests(shared_node, 0)
    finally:
        os.kill(pid, signal.SIGCONT)
    reply = await call("POST", "/score/wine", json=wine(7))
    assert reply.body["results"] == [{"value": 7.0}]


async def _score(session: aiohttp.ClientSession, record: Any) -> None:
    async with session.post("/score/wine", json=record):
        pass


async def _wait_for_requests(node: LocalNode, count: int) -> None:
    line = f"repertory_http_requests_in_progress {float(count + 1)}\n"  # and the scrape itself
    async with asyncio.timeout(10), aiohttp.ClientSession(node.url) as session:
        while True:
            async with session.get("/metrics") as reply:
                if line in await reply.text():
                    return
