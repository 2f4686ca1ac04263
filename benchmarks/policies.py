"""What policies cost, and whether a deadline holds.

    python -m benchmarks.policies overhead [--rounds N] [--seconds S]
    python -m benchmarks.policies majority [--rounds N] [--seconds S]
    python -m benchmarks.policies deadline [--seconds S] [--rate R] [--batch B]

* overhead: as many batches as a node can score, without a policy, with `latest` (the policy actor
  between router and serving actor), and with `majority` over three slots; in turns.
* majority: batches at a steady rate, to the slowest of three slots alone and to a majority of all
  three, in turns; how long a caller waits. Once with models that wait (the cores are free), and once
  with models that compute.
* deadline: batches at a steady rate to three slots, of which the best-ranked one has a heavy tail
  (a log-normal sleep, seeded); how many are answered within the deadline and 5 ms, as the caller
  sees it from the moment at which each was due; whether each answer is the best that had arrived;
  and the memory of the actors.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import yaml

from repertory.actors.batch import PolicyReport, RecordBatch, SlotState
from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.errors import Overloaded
from repertory.protos.winerecord_pb2 import WineRecord

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "examples" / "wine" / "models"
FILES = {
    "forest": "02-random-forest.onnx",
    "mlp": "05-mlp.onnx",
    "tree": "01-decision-tree.pmml",
}
SLOTS = tuple(FILES)
BATCH = 1024
IN_FLIGHT = 4
DEADLINE_MS, ALLOWANCE_MS = 20, 5
WARM_SECONDS = 1.0
ALONE = 500  # batches that are sent one after the other


class Stage:
    """A node with three models of wine, and a client of its door."""

    def __init__(self, node: LocalNode, client: RouterClient) -> None:
        self.node = node
        self.client = client

    async def publish(self, name: str) -> None:
        """Put a model on stage. Raises RuntimeError when it is not served."""
        spooled = self.node.paths.spool / name
        spooled.write_bytes((MODELS / FILES[name]).read_bytes())
        question = {"data_type": "wine", "name": name, "content_file": str(spooled)}
        outcome = await self.client.ask("publish", timeout=90, **question)
        if outcome["state"] != "SERVING":
            raise RuntimeError(f"{name} is not served: {outcome}")

    async def play(self, policy: str | None, *slots: str, **settings: Any) -> None:
        """Put a policy in force, or none. Raises RuntimeError when it is rejected."""
        document = {"policy": policy, "slots": slots, **settings}
        text = "" if policy is None else orjson.dumps(document).decode()
        outcome = await self.client.ask("policy", timeout=90, data_type="wine", settings=text)
        if outcome["state"] != "IN_FORCE":
            raise RuntimeError(f"the policy is not in force: {outcome}")

    async def pids(self) -> dict[str, int]:
        """Return the processes of the slots, the policy and the router."""
        status = await self.client.ask("status")
        wine = status["data_types"]["wine"]
        slots = {f"slot {name}": each["pid"] for name, each in wine["slots"].items()}
        return {"router": status["pid"], "policy": wine["policy"]["pid"], **slots}


@asynccontextmanager
async def stage(delays: dict[str, dict[str, float]]) -> AsyncIterator[Stage]:
    """Start a node whose slots are slow on purpose as `delays` say."""
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        document |= {"data_dir": f"{folder}/data", "http": {"enabled": False}}
        document["data_types"]["wine"] |= {"topics": [], "delays": delays}
        config = Path(folder) / "cluster.yaml"
        config.write_text(yaml.safe_dump(document))
        with LocalNode(config, log=Path(folder) / "node.log") as node:
            async with RouterClient(node.paths.router_door, role="benchmark") as client:
                async with asyncio.timeout(60):
                    await client.connected.wait()
                found = Stage(node, client)
                for name in SLOTS:
                    await found.publish(name)
                yield found


def wines(count: int) -> list[bytes]:
    """Return records that differ."""
    chance = np.random.default_rng(7)
    fields = yaml.safe_load((ROOT / "cluster.yaml").read_text())["data_types"]["wine"]["features"]
    rows = chance.uniform(0.1, 15, (count, len(fields)))
    return [
        WineRecord(**dict(zip(fields, row.tolist(), strict=True))).SerializeToString()
        for row in rows
    ]


# --- how much a node can score


async def throughput(client: RouterClient, seconds: float) -> tuple[float, float]:
    """Return records a second and the median time (ms) of a batch, with batches always waiting."""
    batch = RecordBatch("wine", wines(BATCH))
    times: list[float] = []
    began = time.perf_counter() + WARM_SECONDS
    end = began + seconds

    async def ask() -> None:
        while (start := time.perf_counter()) < end:
            try:
                await client.score_columns(batch, timeout=30)
            except Overloaded:
                await asyncio.sleep(0.001)
                continue
            if start >= began:
                times.append(time.perf_counter() - start)

    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    return len(times) * BATCH / seconds, statistics.median(times) * 1000


async def alone(client: RouterClient, count: int) -> float:
    """Return the median time (ms) of a batch of so many records, one after the other."""
    batch = RecordBatch("wine", wines(count))
    times = []
    for _ in range(ALONE):
        start = time.perf_counter()
        await client.score_columns(batch, timeout=30)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


async def overhead(rounds: int, seconds: float) -> None:
    """Measure and print what the policy path costs."""
    ways: dict[str, tuple[str | None, Sequence[str]]] = {
        "no policy": (None, ()),
        "latest": ("latest", ()),
        "majority of three": ("majority", SLOTS),
    }
    rates, times = defaultdict(list), defaultdict(list)
    single, whole = defaultdict(list), defaultdict(list)
    async with stage({}) as node:
        for number in range(rounds):
            for way, (policy, slots) in ways.items():
                await node.play(None)  # so that the default slot has the same model each time
                await node.play(policy, *slots)
                rate, taken = await throughput(node.client, seconds)
                rates[way].append(rate)
                times[way].append(taken)
                single[way].append(await alone(node.client, 1))
                whole[way].append(await alone(node.client, BATCH))
                print(f"round {number + 1}: {way}: {rate:,.0f} records/s", flush=True)
    base = statistics.median(rates["no policy"])
    print(f"\n{BATCH} records a batch, {IN_FLIGHT} in flight; medians of {rounds} rounds")
    print(
        "| way | records/s | of no policy | batch, ms | one record alone, ms | a batch alone, ms |"
    )
    print("|---|---|---|---|---|---|")
    for way, found in rates.items():
        rate = statistics.median(found)
        medians = [statistics.median(each[way]) for each in (times, single, whole)]
        cells = " | ".join(f"{each:.2f}" for each in medians)
        print(f"| {way} | {rate:,.0f} | {rate / base:.1%} | {cells} |")


# --- a steady rate


@dataclass
class Steady:
    """What became of batches that were sent at a steady rate; times are milliseconds."""

    times: list[float] = field(default_factory=list)
    reports: list[PolicyReport] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def steady(client: RouterClient, *, rate: float, batch: int, seconds: float) -> Steady:
    """Send batches, each when it is due; a late start counts as waiting (no coordinated omission)."""
    records, found = RecordBatch("wine", wines(batch)), Steady()
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.1
    count = int((seconds + WARM_SECONDS) * rate / batch)

    async def one(due: float) -> None:
        try:
            scored = await client.score_columns(records, timeout=10)
        except Exception as error:  # noqa: BLE001 - counted and shown
            found.failures.append(f"{type(error).__name__}: {error}")
            return
        if due - begin >= WARM_SECONDS:
            found.times.append((loop.time() - due) * 1000)
            if scored.policy is not None:
                found.reports.append(scored.policy)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due = begin + number * batch / rate
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            group.create_task(one(due))
    return found


async def majority(rounds: int, seconds: float) -> None:
    """Measure and print what three slots cost beside the slowest one alone."""
    waiting = {
        "forest": {"median_ms": 20.0},
        "mlp": {"median_ms": 10.0},
        "tree": {"median_ms": 5.0},
    }
    print("| models | way | mean, ms | p99, ms | of the slowest alone |\n|---|---|---|---|---|")
    for kind, delays in (("wait", waiting), ("compute", {})):
        means, tails = defaultdict(list), defaultdict(list)
        async with stage(delays) as node:
            for _ in range(rounds):
                for way, policy, slots in (
                    ("forest alone", "latest", ("forest",)),
                    ("majority of three", "majority", SLOTS),
                ):
                    await node.play(policy, *slots)
                    found = await steady(node.client, rate=1000, batch=50, seconds=seconds)
                    means[way].append(statistics.mean(found.times))
                    tails[way].append(float(np.percentile(found.times, 99)))
        base = statistics.median(means["forest alone"])
        for way, each in means.items():
            mean, tail = statistics.median(each), statistics.median(tails[way])
            print(f"| {kind} | {way} | {mean:.2f} | {tail:.2f} | {mean / base:.2f} |", flush=True)


async def deadline(seconds: float, rate: float, batch: int) -> None:
    """Measure and print how a deadline holds."""
    delays = {"forest": {"median_ms": 6, "sigma": 1.2, "seed": 7, "most_ms": 500}}
    async with stage(delays) as node:
        await node.play("deadline", *SLOTS, deadlineMs=DEADLINE_MS)
        await steady(node.client, rate=rate, batch=batch, seconds=10)  # memory settles
        pids = await node.pids()
        before = {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}
        found = await steady(node.client, rate=rate, batch=batch, seconds=seconds)
        state = await node.client.ask("state", data_type="wine")
        after = {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}
    _print_deadline(found, batch, state)
    for name, size in before.items():
        print(f"{name}: {size / 1e6:.1f} MB, then {after[name] / 1e6:.1f} MB")


def _print_deadline(found: Steady, batch: int, state: dict[str, Any]) -> None:
    times = np.array(found.times)
    within = (times <= DEADLINE_MS + ALLOWANCE_MS).mean()
    chosen: Counter[str] = Counter()
    wrong = 0
    for report in found.reports:
        arrived = [i for i, each in enumerate(report.slots) if each.state is SlotState.ARRIVED]
        places = report.chosen.tolist() if report.chosen is not None else [0] * batch
        chosen.update(report.slots[place].slot for place in places)
        wrong += any(place != arrived[0] for place in places)
    print(f"{len(times) * batch:,} records in batches of {batch}, {len(found.failures)} failures")
    print(f"within {DEADLINE_MS} + {ALLOWANCE_MS} ms at the caller: {within:.3%}")
    cuts = np.percentile(times, [50, 99, 99.9, 100])
    print("p50 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, max {:.1f} ms".format(*cuts))
    print(f"chosen: {dict(chosen)}; answers that were not the best that had arrived: {wrong}")
    about = state["policy"]
    print(f"in the policy actor: {about['percentiles']}; slack {about['slack']}")
    print(
        f"open in the policy actor afterwards: {state['open']}; slots: {state['policy']['slots']}"
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("overhead", "majority", "deadline"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="records a second")
    parser.add_argument("--batch", type=int, default=20, help="records a batch")
    arguments = parser.parse_args()
    if arguments.what == "overhead":
        asyncio.run(overhead(arguments.rounds, arguments.seconds))
    elif arguments.what == "majority":
        asyncio.run(majority(arguments.rounds, arguments.seconds))
    else:
        asyncio.run(deadline(arguments.seconds, arguments.rate, arguments.batch))


if __name__ == "__main__":
    main()
