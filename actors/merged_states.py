"""How a model does on several nodes, or a policy, as if one node did all of it. Pure."""

from collections.abc import Sequence
from typing import Any

from repertory.actors.merged_part import Part, bare, by_name, foremost, position
from repertory.actors.merged_policies import merged_policy
from repertory.actors.statistics import Statistics


def merged_state(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what `/state` says of the newest policy, or without any of the newest model.

    A policy may come, or go, on one node before the others: as long as one has it, it is told.
    """
    heard = [part for part in by_name(parts) if part.answer is not None]
    decided = [part for part in heard if "policy" in part.told]
    plain = [part for part in heard if "policy" not in part.told]
    if any(part.told["policy"] for part in decided) or not plain:
        return merged_policy(decided, parts)
    newest = max(plain, key=lambda part: position(part.told))
    same = [part for part in plain if part.told["version"] == newest.told["version"]]
    merged = bare(foremost(same).told)
    if len(same) > 1:
        merged |= _statistics(same).as_json()
        merged["since"] = min(part.told["since"] for part in same)
    if len(parts) > 1 or parts[0].unreachable_since_ms is not None:
        merged["replicas"] = {part.node: _replica(part) for part in by_name(parts)}
    return merged


def _statistics(parts: Sequence[Part]) -> Statistics:
    whole = Statistics()
    for part in parts:
        sketches = part.told.get("sketches")
        whole.merge(Statistics.read(part.told, sketches and sketches["times"]))
    return whole


def _replica(part: Part) -> dict[str, Any]:
    told, keys = part.told, ("version", "position", "since", "usage", "errors", "pid")
    return part.replica(**{key: told[key] for key in keys if key in told})
