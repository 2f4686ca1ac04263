"""What several nodes cost: a hop from one to another, and a record with one, two and three.

    python -m benchmarks.cluster hop [--rounds N] [--seconds S] [--json FILE]
    python -m benchmarks.cluster nodes [--rounds N] [--seconds S] [--rate R] [--json FILE]

The nodes are whole ones, on addresses of this machine's loopback, with a development broker for
the journal. More of them do not score more on the same cores; what is looked at is the CPU time of
all their processes for each record (/proc).

* hop: a client at the door of a data type's owner and one at another node's door, in turns, with
  TCP and with TLS between the nodes. Batches of 1,024, four in flight; one batch alone; one record
  alone.
* nodes: fresh clusters of one, two and three nodes with 12 data types, each of which one node owns,
  in turns: idle, and with the same number of records a second in batches of 500, which come in at
  their owners' doors, or at all doors evenly.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cluster_growth import ALLOWED, growth_table, measure_growth, verdict
from benchmarks.cluster_hop import hop_table, measure_hop
from benchmarks.machine import machine

BUSY = 2.0  # a load at which absolute figures mean little


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit 1 when a record's cost grows too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("hop", "nodes"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=20_000.0, help="records a second (nodes)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    given = parser.parse_args(arguments)
    loads = [os.getloadavg()[0]]
    if loads[0] > BUSY:
        say(f"the machine is busy (load {loads[0]:.1f}): read the ratios only")
    trials, lines, good = asyncio.run(_run(given))
    loads.append(os.getloadavg()[0])
    print("\n".join(lines))
    print(f"\n{machine()}; load {loads[0]:.1f} before and {loads[1]:.1f} after, with this in it.")
    if given.json:
        settings = {"what": given.what, "rounds": given.rounds, "seconds": given.seconds}
        found = {"machine": machine(), "loads": loads, "settings": settings, "trials": trials}
        given.json.write_text(json.dumps(found, indent=1))
    return 0 if good else 1


async def _run(given: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str], bool]:
    if given.what == "hop":
        hops = await measure_hop(given.rounds, given.seconds, say=say)
        return [asdict(each) for each in hops], hop_table(hops), True
    trials = await measure_growth(
        given.rounds, given.seconds, rate=given.rate, nodes=(1, 2, 3), say=say
    )
    growth, sentences = verdict(trials)
    lines = [*growth_table(trials), "", *(f"* {each}" for each in sentences)]
    return [asdict(each) for each in trials], lines, growth <= ALLOWED


if __name__ == "__main__":
    sys.exit(main())
