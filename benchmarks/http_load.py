"""Load: clients that wait for their answers, or requests that come when they come."""

import asyncio
import contextlib
import random
import resource
import selectors
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_connection import Connection, NotAnswered, Reply

LINES = 64
"""Connections for requests that come when they come; with all of them busy, requests wait."""

_GRACE_SECONDS = 10.0  # that answers may come after the end
_SEED = 11
_TIMER_SLACK = "1000"  # nanoseconds; Linux would round to 50 microseconds

Make = Callable[[], Connection]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a load had."""

    rate: float
    """Requests a second that were answered; of a pace, that were to be sent."""
    latencies: list[float]
    """Seconds, in no order, without those of the warm-up."""
    answered: int
    """Requests in all, with those of the warm-up."""
    client_cores: float
    """How much of a core the load itself took."""
    replies: list[Reply]
    """The last one of each connection."""


def closed(port: int, makes: Sequence[Make], *, warm: float, seconds: float) -> Taken:
    """Have each connection ask again once it is answered. Raises NotAnswered."""
    return asyncio.run(_closed(port, makes, warm, seconds))


def paced(port: int, makes: Sequence[Make], rate: float, *, warm: float, seconds: float) -> Taken:
    """Ask at a rate, at moments of chance (Poisson) that are the same for all servers.

    A request whose turn comes while all connections are busy waits, and its latency counts from its
    moment: what a slow server keeps waiting is not forgotten. Raises NotAnswered.
    """
    # Timers of epoll round up to milliseconds; those of select do not.
    loop = asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=lambda: loop(selectors.SelectSelector())) as runner:
        with contextlib.suppress(OSError):
            Path("/proc/self/timerslack_ns").write_text(_TIMER_SLACK)
        return runner.run(_paced(port, makes, moments(rate, warm + seconds), warm))


def once(port: int, make: Make) -> Reply:
    """Ask once. Raises NotAnswered, or OSError when nobody listens."""
    return closed(port, [make], warm=0.0, seconds=0.0).replies[0]


def moments(rate: float, seconds: float) -> list[float]:
    """Return when requests are to be sent, in seconds from the start."""
    chance, found, at = random.Random(_SEED), [], 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        found.append(at)
    return found


async def _closed(port: int, makes: Sequence[Make], warm: float, seconds: float) -> Taken:
    loop, taken = asyncio.get_running_loop(), list[float]()
    async with _connected(port, makes) as (lines, over):
        counted, busy = 0, len(lines)
        used, began = _used(), loop.time()
        begin, end = began + warm, began + warm + seconds

        def replied(line: Connection) -> None:
            nonlocal counted, busy
            now = loop.time()
            counted += 1
            if begin <= now < end:
                taken.append(now - line.due)
            if now < end:
                line.ask(now)
            elif not (busy := busy - 1) and not over.done():
                over.set_result(None)

        for line in lines:
            line.replied = replied
            line.ask(loop.time())
        await _until(over, warm + seconds)
        cores = (_used() - used) / (loop.time() - began)
        rate = len(taken) / seconds if seconds else 0.0
        return Taken(rate, taken, counted, cores, [line.reply for line in lines])


async def _paced(port: int, makes: Sequence[Make], due: Sequence[float], warm: float) -> Taken:
    loop, taken = asyncio.get_running_loop(), list[float]()
    async with _connected(port, makes) as (lines, over):
        idle, waiting, sent, answered = deque(lines), deque[float](), 0, 0
        used, began = _used(), loop.time()
        schedule = [began + at for at in due]

        def send() -> None:
            nonlocal sent
            now = loop.time()
            while sent < len(schedule) and schedule[sent] <= now:
                if idle:
                    idle.popleft().ask(schedule[sent])
                else:
                    waiting.append(schedule[sent])
                sent += 1
            if sent < len(schedule):
                loop.call_at(schedule[sent], send)

        def replied(line: Connection) -> None:
            nonlocal answered
            answered += 1
            if line.due >= began + warm:
                taken.append(loop.time() - line.due)
            if waiting:
                line.ask(waiting.popleft())
            else:
                idle.append(line)
            if answered == len(schedule) and not over.done():
                over.set_result(None)

        for line in lines:
            line.replied = replied
        send()
        await _until(over, due[-1])
        cores = (_used() - used) / (loop.time() - began)
        replies = [line.reply for line in lines if line.reply.body]
        return Taken(len(taken) / (due[-1] - warm), taken, answered, cores, replies)


@contextlib.asynccontextmanager
async def _connected(
    port: int, makes: Sequence[Make]
) -> AsyncIterator[tuple[list[Connection], asyncio.Future[None]]]:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    lines: list[Connection] = []

    def failed(error: NotAnswered) -> None:
        if not over.done():
            over.set_exception(error)

    try:
        for make in makes:
            line = make()
            line.failed = failed
            await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
            lines.append(line)
        yield lines, over
    finally:
        for line in lines:
            line.close()


async def _until(over: asyncio.Future[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            await over
    except TimeoutError:
        raise NotAnswered(f"not all were answered {_GRACE_SECONDS:g} s after the end") from None


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def centile(latencies: Sequence[float], part: float) -> float:
    """Return the latency in milliseconds that `part` of them do not exceed."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000
