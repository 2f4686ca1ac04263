"""What a hop to another node costs.

The same client is at the door of a data type's owner and at that of a node that owns nothing, in
turns.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from benchmarks.cluster_stage import Plan, Stage, stage
from benchmarks.policies import wines

from repertory.actors.batch import RecordBatch
from repertory.actors.client import RouterClient

OWNER, OTHER = "b", "a"
DOORS = {OWNER: "at the owner", OTHER: "one hop away"}
TRANSPORTS = ("TCP", "TLS")
BATCH = 1024
IN_FLIGHT = 4
WARM_SECONDS = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Numbers:
    """What a client at one door sees, and what all processes of both nodes pay for it."""

    rate: float  # records a second, with batches always waiting
    cpu: float  # microseconds a record, meanwhile
    batch_p50: float  # milliseconds of one batch alone, and so on
    batch_p99: float
    record_p50: float
    record_p99: float

    def over(self, other: "Numbers") -> "Numbers":
        """Return each number divided by the other's."""
        return Numbers(*(a / b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Trial:
    """One door, measured once."""

    round: int
    transport: str
    door: str
    numbers: Numbers


async def measure_hop(rounds: int, seconds: float, *, say: Say) -> list[Trial]:
    """Measure both doors in turns, with each transport; each number takes `seconds`."""
    trials = []
    for transport in TRANSPORTS:
        say(f"{transport}: two nodes start")
        plan = Plan(2, ["wine"], owners=[OWNER], tls=transport == "TLS")
        async with stage(plan) as found:
            for number in range(1, rounds + 1):
                for door, numbers in (await _measure(found, number, seconds)).items():
                    trials.append(Trial(number, transport, DOORS[door], numbers))
                    say(f"round {number}, {transport}, {DOORS[door]}: {_told(numbers)}")
    return trials


async def _measure(found: Stage, number: int, seconds: float) -> dict[str, Numbers]:
    """Measure each number at one door and then at the other: a moment later, all may be slower."""
    doors = (OWNER, OTHER) if number % 2 else (OTHER, OWNER)
    if number == 1:
        for door in doors:
            await throughput(found.clients[door], WARM_SECONDS)
    most = {door: await _most(found, door, seconds) for door in doors}
    batch = {door: await alone(found.clients[door], BATCH, seconds) for door in doors}
    record = {door: await alone(found.clients[door], 1, seconds) for door in doors}
    return {door: Numbers(*most[door], *batch[door], *record[door]) for door in DOORS}


async def _most(found: Stage, door: str, seconds: float) -> tuple[float, float]:
    """Return records a second, and microseconds of CPU a record. Raises RuntimeError for a detour."""
    hops, cpu, began = await found.forwarded(), found.cpu_seconds(), time.perf_counter()
    batches = await throughput(found.clients[door], seconds)
    took, cpu = time.perf_counter() - began, found.cpu_seconds() - cpu
    if (hops := await found.forwarded() - hops) != (batches if door == OTHER else 0):
        raise RuntimeError(f"{hops} of {batches} batches made a hop at the door of {door}")
    records = batches * BATCH
    return records / took, cpu * 1e6 / records


async def throughput(client: RouterClient, seconds: float) -> int:
    """Have batches scored, with some always waiting; return how many."""
    batch, end = RecordBatch("wine", wines(BATCH)), time.perf_counter() + seconds

    async def ask() -> int:
        count = 0
        while time.perf_counter() < end:
            await client.score_columns(batch, timeout=30)
            count += 1
        return count

    return sum(await asyncio.gather(*(ask() for _ in range(IN_FLIGHT))))


async def alone(client: RouterClient, count: int, seconds: float) -> tuple[float, float]:
    """Return p50 and p99 (ms) of batches of so many records, one after the other."""
    batch, end = RecordBatch("wine", wines(count)), time.perf_counter() + seconds
    times: list[float] = []
    while (start := time.perf_counter()) < end or len(times) < 2:
        await client.score_columns(batch, timeout=30)
        times.append((time.perf_counter() - start) * 1000)
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return cuts[49], cuts[98]


def median(numbers: Iterable[Numbers]) -> Numbers:
    """Return the median of each number."""
    return Numbers(*map(statistics.median, zip(*map(astuple, numbers), strict=True)))


def hop_table(trials: Sequence[Trial]) -> list[str]:
    """Return the lines of a table in Markdown: medians, and those of the ratios in each round."""
    headings = "records/s | CPU µs a record | batch p50 ms | p99 ms | record p50 ms | p99 ms"
    lines = [f"| between nodes | door | {headings} |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    for transport in dict.fromkeys(trial.transport for trial in trials):
        by_door = {
            door: [
                each.numbers for each in trials if (each.transport, each.door) == (transport, door)
            ]
            for door in DOORS.values()
        }
        for door, numbers in by_door.items():
            lines.append(f"| {transport} | {door} | {_cells(median(numbers))} |")
        owner, other = (by_door[DOORS[door]] for door in (OWNER, OTHER))
        ratios = median(b.over(a) for a, b in zip(owner, other, strict=True))
        lines.append(
            f"| {transport} | ratio | {' | '.join(f'{each:.2f}' for each in astuple(ratios))} |"
        )
    return lines


def _cells(numbers: Numbers) -> str:
    rate, *rest = astuple(numbers)
    return " | ".join([f"{rate:,.0f}", *(f"{each:.2f}" for each in rest)])


def _told(numbers: Numbers) -> str:
    return ", ".join(f"{each.name} {getattr(numbers, each.name):,.2f}" for each in fields(numbers))
