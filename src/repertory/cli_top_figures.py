"""What `repertory top` shows, from what nodes answered at two moments. Pure."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from repertory.cli_cluster_sheets import COLOURS, NOTHING
from repertory.cli_sheet import Sheet
from repertory.cli_tables import moment, stale
from repertory.cli_top_asking import Look

# The stream of topics whose records say their data type themselves.
MIXED = "mixed"
# What is said once of a policy and its slots.
_OF_ALL_SLOTS = ("node", "asOf", "stale", "staleSince")
_NUMBERS = ("version", "records/s", "errors/s", "p50 ms", "p99 ms", "lag", "pid")


@dataclass(frozen=True, slots=True)
class Count:
    """What one replica of a model, or of a policy, has counted since it is on stage."""

    version: int
    usage: int
    errors: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Records, and those that failed, a second."""

    records: float
    errors: float


Counts = dict[str, dict[str, Count]]  # by place, a data type or one of its slots; by node


def counts(look: Look) -> Counts:
    """Return what was counted; of a node that cannot be reached just now, nothing."""
    return {
        place: {
            node: Count(told["version"], told["usage"], told["errors"])
            for node, told in each.get("replicas", {each.get("node", ""): each}).items()
            if "usage" in told and "unreachableSince" not in told
        }
        for place, each in _models(look)
    }


def rates(look: Look, before: Look | None) -> dict[str, Rate]:
    """Return the rates between two looks, over the replicas that told their counts both times."""
    if before is None or look.at <= before.at:
        return {}
    old, found = counts(before), {}
    for place, replicas in counts(look).items():
        gains = [
            _gain(old[place][node], new)
            for node, new in replicas.items()
            if node in old.get(place, {})
        ]
        if gains:
            seconds = look.at - before.at
            records, errors = (sum(column) / seconds for column in zip(*gains, strict=True))
            found[place] = Rate(records, errors)
    return found


def _gain(old: Count, new: Count) -> tuple[int, int]:
    """Return the records and errors since; another version, and one come back, count from zero."""
    if old.version != new.version or new.usage < old.usage or new.errors < old.errors:
        return new.usage, new.errors
    return new.usage - old.usage, new.errors - old.errors


def lags(look: Look) -> dict[str, int]:
    """Return how many records of each stream are not done yet, over all nodes that told."""
    behind = Counter[str]()
    for status in look.statuses.values():
        for report in status.get("faces", {}).values():
            for stream, each in report.get("streams", {}).items():
                behind[stream] += each.get("lag", 0)
    return dict(behind)


# --- tables


def headline(look: Look, before: Look | None) -> str:
    """Return the whole cluster in a line."""
    states = [member["state"] for member in look.cluster["members"]]
    nodes = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    found, behind = rates(look, before), lags(look)
    whole = [rate for place, rate in found.items() if place in look.states]
    parts = [f"nodes: {nodes}", f"leader {look.cluster['leader']}"]
    if whole:
        parts.append(f"{_rate(sum(rate.records for rate in whole))} records/s")
    if behind:
        parts.append(f"lag {sum(behind.values()):,}")
    return "  ".join([*parts, f"{look.url} at {time.strftime('%H:%M:%S')}"])


def node_sheet(look: Look) -> Sheet:
    """Return the nodes, a line for each; of one that cannot be asked no process is known."""
    header = ("node", "state", "role", "since", "software", "processes", "pid")
    rows, colours = [], []
    for member in look.cluster["members"]:
        status = look.statuses.get(member["node"], {})
        ready = bool(status.get("ready", True))
        processes = {name.partition(":")[0] for name in status.get("faces", {})}
        rows.append(
            (
                member["node"],
                member["state"] if ready else f"{member['state']}, not ready",
                ", ".join(member["roles"]),
                moment(member["since"]),
                member["software"] or NOTHING,
                ", ".join(sorted(processes)) or NOTHING,
                str(status.get("pid", NOTHING)),
            )
        )
        colours.append(COLOURS.get(member["state"]) if ready else "yellow")
    return Sheet(header, rows, colours, _NUMBERS, spare=("software", "pid", "since", "processes"))


def serving_sheet(look: Look, before: Look | None) -> Sheet:
    """Return the data types, a line for each and, with a policy, for each of its slots."""
    header = (
        *("data type", "model", "version", "owners"),
        *("records/s", "errors/s", "p50 ms", "p99 ms", "lag"),
    )
    found, behind = rates(look, before), lags(look)
    rows, colours = [], []
    for place, each in _models(look):
        shard = look.cluster["shards"].get(place, {"owners": ()})
        rate = found.get(place)
        rows.append(
            (
                place,
                *_model_cells(each),
                ", ".join(shard["owners"]) or NOTHING,
                NOTHING if rate is None else _rate(rate.records),
                NOTHING if rate is None else _rate(rate.errors),
                *_latency_cells(each),
                f"{behind[place]:,}" if place in behind else NOTHING,
            )
        )
        colours.append(_colour(each, rate))
    spare = ("p50 ms", "errors/s", "version", "owners", "lag", "p99 ms", "model")
    return Sheet(header, rows, colours, _NUMBERS, spare)


def remarks(look: Look) -> Iterator[str]:
    """Yield what is not as it should be, a sentence each."""
    for member in look.cluster["members"]:
        name, status = member["node"], look.statuses.get(member["node"], {})
        if member["state"] != "up" and member["reason"]:
            yield f"node {name}: {member['reason']}"
        if "error" in status:
            yield f"node {name}: {status['error']}"
        for troubles in status.get("troubles", {}).values():
            yield from (f"node {name}: {trouble}" for trouble in troubles)
    for data_type, shard in look.cluster["shards"].items():
        yield from (f"{data_type} on {node}: {why}" for node, why in shard["out"].items())
    for place, each in _models(look):
        if "error" in each:
            yield f"{place}: {each['error']}"
        elif each.get("stale"):
            yield f"{place}: {stale(each)}"
    if behind := lags(look).get(MIXED):
        yield f"topics of mixed data types: {behind:,} records are not done yet"


def _models(look: Look) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each model by its place; before those of slots, the policy."""
    for data_type, state in look.states.items():
        if "slots" not in state:
            yield data_type, state
            continue
        about: dict[str, Any] = {key: state[key] for key in _OF_ALL_SLOTS if key in state}
        yield data_type, {**about, **state["policy"], "isPolicy": True}
        for slot, model in state["slots"].items():
            yield f"{data_type}/{slot}", model


def _model_cells(model: Mapping[str, Any]) -> tuple[str, str]:
    if "error" in model:
        return NOTHING, NOTHING
    kind = "policy " if model.get("isPolicy") else ""
    return f"{kind}{model['name']}", str(model["version"])


def _latency_cells(model: Mapping[str, Any]) -> tuple[str, str]:
    if "error" in model or not model["usage"]:
        return NOTHING, NOTHING
    percentiles = model["percentiles"]
    return f"{percentiles['p50']:.2f}", f"{percentiles['p99']:.2f}"


def _colour(model: Mapping[str, Any], rate: Rate | None) -> str | None:
    if "error" in model:
        return "red"
    return "yellow" if model.get("stale") or (rate is not None and rate.errors > 0) else None


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if 0 < rate < 10 else f"{rate:,.0f}"
