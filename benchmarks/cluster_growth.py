"""What a record costs with one, two and three nodes at the same load.

A record that comes in at a door of n, any of them as likely, makes a hop with a chance of
(n - 1)/n. So it is measured twice: with all batches at the doors of their owners, where nobody
pays a hop, and spread evenly over all doors.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.cluster_stage import Plan, Stage, stage
from benchmarks.policies import wines

from repertory.actors.batch import RecordBatch
from repertory.actors.client import RouterClient
from repertory.errors import RequestFailed

DATA_TYPES = tuple(f"wine{number:02}" for number in range(1, 13))
BATCH = 500
SETTLE_SECONDS = 12.0  # until nodes that have come up have nothing to do
OWNERS, EVENLY = "at their owners", "at all doors evenly"
TURNS = 3  # at each cluster
ALLOWED = 0.10

Say = Callable[[str], None]
Call = tuple[RouterClient, RecordBatch]


@dataclass(frozen=True)
class Cost:
    """What became of a load, and what it cost."""

    records: int
    failures: int
    hops: float  # of a batch
    cpu: float  # microseconds a record: all processes of all nodes, what they do when idle as well
    idle: float  # CPU seconds a second of the same cluster without load
    beyond_idle: float  # microseconds a record, without that
    p50: float  # milliseconds from the moment at which a batch was due
    p99: float


@dataclass(frozen=True)
class Trial:
    """One load on one cluster."""

    round: int
    nodes: int
    way: str
    cost: Cost


@dataclass
class Sent:
    """The batches of a load: seconds that the answer of each took from when it was due."""

    times: list[float] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0.0


async def measure_growth(
    rounds: int,
    seconds: float,
    *,
    rate: float,
    nodes: Sequence[int],
    say: Say,
    settle: float = SETTLE_SECONDS,
) -> list[Trial]:
    """Measure fresh clusters of so many nodes, in turns; each number takes `seconds`."""
    trials: list[Trial] = []
    for number in range(1, rounds + 1):
        for size in nodes:
            say(f"round {number}: {size} nodes start")
            async with stage(Plan(size, DATA_TYPES)) as found:
                await asyncio.sleep(settle)
                before = found.cpu_seconds()
                await asyncio.sleep(seconds)
                idle = (found.cpu_seconds() - before) / seconds
                for way in (OWNERS, EVENLY) * TURNS:
                    cost = await _measure(found, way, rate=rate, seconds=seconds, idle=idle)
                    trials.append(Trial(number, size, way, cost))
                    say(f"round {number}: {_told(trials[-1])}")
    return trials


async def _measure(found: Stage, way: str, *, rate: float, seconds: float, idle: float) -> Cost:
    calls = _calls(found, way)
    await send([*calls, *calls], rate)
    hops, before = await found.forwarded(), found.cpu_seconds()
    sent = await send(calls * math.ceil(seconds * rate / BATCH / len(calls)), rate)
    cpu = found.cpu_seconds() - before
    batches = len(sent.times)
    cuts = statistics.quantiles(sent.times, n=100, method="inclusive")
    return Cost(
        records=batches * BATCH,
        failures=sent.failures,
        hops=(await found.forwarded() - hops) / batches,
        cpu=cpu * 1e6 / (batches * BATCH),
        idle=idle,
        beyond_idle=(cpu - idle * sent.seconds) * 1e6 / (batches * BATCH),
        p50=cuts[49] * 1000,
        p99=cuts[98] * 1000,
    )


def _calls(found: Stage, way: str) -> list[Call]:
    """Return whom to send what, over and over: as many batches of each data type at each door."""
    records = wines(BATCH)
    batches = [RecordBatch(name, records) for name in DATA_TYPES]
    return [
        (found.clients[door if way == EVENLY else found.owners[batch.data_type]], batch)
        for door in found.clients
        for batch in batches
    ]


async def send(calls: Sequence[Call], rate: float) -> Sent:
    """Send batches, each when it is due, whatever becomes of the others."""
    found, began = Sent(), time.perf_counter()

    async def one(client: RouterClient, batch: RecordBatch, due: float) -> None:
        try:
            await client.score_columns(batch, timeout=30)
        except RequestFailed:
            found.failures += 1
        else:
            found.times.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number, call in enumerate(calls):
            due = began + number * BATCH / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            group.create_task(one(*call, due))
    found.seconds = time.perf_counter() - began
    return found


# --- what it comes to


def median(trials: Iterable[Trial], nodes: int, way: str, number: str) -> float:
    """Return the median of a number over the rounds."""
    chosen = (each.cost for each in trials if (each.nodes, each.way) == (nodes, way))
    return float(statistics.median(getattr(each, number) for each in chosen))


def hop_cost(alone: float, evenly: float, nodes: int) -> float:
    """Return what one hop costs, if the mean record pays (nodes - 1)/nodes of one."""
    return (evenly - alone) * nodes / (nodes - 1)


def foretold(alone: float, evenly: float) -> float:
    """Return what a record costs with three nodes, if with two it costs this, and a hop the same."""
    return evenly + hop_cost(alone, evenly, 2) * (2 / 3 - 1 / 2)


def growth_table(trials: Sequence[Trial]) -> list[str]:
    """Return the lines of a table in Markdown: medians."""
    lines = [
        "| nodes | idle, cores | batches come in | hops | CPU µs a record | beyond idle | of one node"
        + " | p50 ms | p99 ms |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for nodes in sorted({each.nodes for each in trials}):
        for way in (OWNERS, EVENLY):
            names = ("idle", "hops", "cpu", "beyond_idle", "p50", "p99")
            idle, hops, cpu, beyond, p50, p99 = (median(trials, nodes, way, n) for n in names)
            least = min(each.nodes for each in trials)
            times = beyond / median(trials, least, way, "beyond_idle")
            numbers = f"{hops:.2f} | {cpu:.2f} | {beyond:.2f} | {times:.2f} | {p50:.2f} | {p99:.2f}"
            lines.append(f"| {nodes} | {idle:.3f} | {way} | {numbers} |")
    return lines


def growth_beyond_hop(trials: Iterable[Trial], number: str) -> float:
    """Return by which part three nodes cost more than two foretell."""
    alone, evenly = (median(trials, 2, way, number) for way in (OWNERS, EVENLY))
    return median(trials, 3, EVENLY, number) / foretold(alone, evenly) - 1


def verdict(trials: Sequence[Trial]) -> tuple[float, list[str]]:
    """Return the growth from two to three nodes beyond the hop, and sentences about it."""
    said = []
    for number, title in (("beyond_idle", "Beyond idle"), ("cpu", "All in all")):
        alone = [median(trials, nodes, OWNERS, number) for nodes in (1, 2, 3)]
        evenly = [median(trials, nodes, EVENLY, number) for nodes in (1, 2, 3)]
        said.append(
            f"{title}: a hop costs {hop_cost(alone[1], evenly[1], 2):.2f} µs a record with two nodes"
            f" and {hop_cost(alone[2], evenly[2], 3):.2f} with three. Two nodes foretell"
            f" {foretold(alone[1], evenly[1]):.2f} µs a record for three; it is {evenly[2]:.2f}:"
            f" {growth_beyond_hop(trials, number):+.1%} beyond the hop. Without hops, three nodes"
            f" cost {alone[2] / alone[0] - 1:+.1%} beside one."
        )
    growth = growth_beyond_hop(trials, "beyond_idle")
    word = "within" if growth <= ALLOWED else "NOT within"
    return growth, [*said, f"From two to three nodes: {word} the {ALLOWED:.0%} allowed."]


def _told(trial: Trial) -> str:
    cost = trial.cost
    return (
        f"{trial.nodes} nodes, {trial.way}: {cost.cpu:.2f} µs a record ({cost.beyond_idle:.2f}"
        f" beyond idle, which is {cost.idle:.3f} of a core), {cost.hops:.2f} hops a batch,"
        f" p50 {cost.p50:.1f} ms, {cost.failures} failures"
    )
