"""Credit and deadlines of scoring requests."""

import asyncio
import os
import signal
from typing import Any

import pytest

from repertory.errors import Overloaded
from repertory.http.dispatch import CreditGate


def _soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_who_finds_no_credit_waits_in_line() -> None:
    gate, order = CreditGate("wine", 1), []

    async def one(number: int) -> None:
        async with gate.admit(_soon(10)):
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*map(one, range(20)))
    assert order == list(range(20))


async def test_the_line_is_bounded() -> None:
    gate = CreditGate("wine", 1, most_waiting=1)
    async with gate.admit(_soon(10)):
        waiting = asyncio.create_task(gate.admit(_soon(10)).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 batches of 'wine' are waiting already"):
            await gate.admit(_soon(10)).__aenter__()
    await waiting


async def test_who_waits_too_long_is_told_and_leaves_the_line() -> None:
    gate = CreditGate("wine", 1, most_waiting=1)
    async with gate.admit(_soon(10)):
        for _ in range(3):
            with pytest.raises(Overloaded, match="no batch of 'wine' could be sent"):
                await gate.admit(_soon(0.01)).__aenter__()
    async with gate.admit(_soon(0.01)):
        pass


@pytest.mark.usefixtures("serving")
async def test_an_actor_that_stands_still_delays_nobody_for_longer_than_allowed(
    call: Any, wine: Any
) -> None:
    status = (await call("GET", "/status")).body
    pid = status["data_types"]["wine"]["pid"]
    headers = {"X-Request-Timeout": "0.5"}
    os.kill(pid, signal.SIGSTOP)
    try:
        replies = await asyncio.gather(
            *(call("POST", "/score/wine", json=wine(i), headers=headers) for i in range(8))
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {reply.status for reply in replies} == {429, 504}
    assert all("Retry-After" in reply.headers for reply in replies if reply.status == 429)
    again = await call("POST", "/score/wine", json=wine(7))
    assert again.body["results"] == [{"value": 7.0}]
