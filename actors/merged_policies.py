"""What a policy does on several nodes, and what its slots say there of the same records. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

from repertory.actors.merged_part import Part, bare, by_name, foremost
from repertory.actors.policies.comparison import Comparison, merged
from repertory.actors.policies.policy_statistics import PolicyStatistics
from repertory.actors.sketches import unpack

_COUNTS = ("records", "errors", "compared", "disagreements")


def merged_policy(decided: Sequence[Part], parts: Sequence[Part]) -> dict[str, Any]:
    """Return what is told of a policy by the parts `decided`, with `replicas` of all `parts`."""
    newest = max(map(_version, decided))
    same = [part for part in decided if _version(part) == newest]
    first = foremost(same)
    whole = bare(first.told)
    if first.told["policy"] is None:  # it is about to come, everywhere
        return whole
    policy = dict(first.told["policy"])
    if len(same) > 1:
        policy |= _policy(same)
        whole["inFlight"] = _sums([part.told["inFlight"] for part in same])
        whole |= {key: sum(part.told[key] for part in same) for key in ("open", "held")}
    if len(parts) > 1 or parts[0].unreachable_since_ms is not None:
        policy["replicas"] = {part.node: _replica(part) for part in by_name(parts)}
    return {**whole, "policy": policy}


def merged_comparison(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what `/compare` says: of the newest policy. Its minutes are as of the newest part."""
    heard = [part for part in by_name(parts) if part.answer is not None]
    newest = max(part.told.get("version", 0) for part in heard)
    same = [part for part in heard if part.told.get("version", 0) == newest]
    whole = bare(foremost(same).told)
    if len(same) > 1:
        at_ms = max(part.as_of_ms for part in heard)
        each = [
            Comparison.read(part.told["pairs"], part.told["sketches"], at_ms=at_ms)
            for part in same
            if "sketches" in part.told
        ]
        whole |= reduce(merged, each).as_json() if each else {}
    if len(parts) > 1 or parts[0].unreachable_since_ms is not None:
        keys = ("version", "pid")
        whole["replicas"] = {
            part.node: part.replica(**{key: part.told[key] for key in keys if key in part.told})
            for part in by_name(parts)
        }
    return whole


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for each in counts for name in each)
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


def _version(part: Part) -> int:
    """Return the policy's; 0 when it is about to come."""
    policy = part.told["policy"]
    return 0 if policy is None else int(policy["version"])


def _policy(same: Sequence[Part]) -> dict[str, Any]:
    """Return what several nodes tell of the same policy."""
    policies = [part.told["policy"] for part in same]
    sketches = [part.told.get("sketches") for part in same]
    whole = PolicyStatistics(policies[0]["ranking"], policies[0]["shadows"])
    for policy, each in zip(policies, sketches, strict=True):
        whole.merge(PolicyStatistics.read(policy, each))
    return {
        "since": min(policy["since"] for policy in policies),
        "trouble": _first(policy["trouble"] for policy in policies),
        "trial": _trial([policy["trial"] for policy in policies], sketches),
        **whole.as_json(),
    }


def _trial(
    trials: Sequence[Mapping[str, Any] | None], sketches: Sequence[Mapping[str, Any] | None]
) -> dict[str, Any] | None:
    """Return what canaries of several nodes did: each node tries its own, and ends the trial."""
    known = [trial for trial in trials if trial is not None]
    if not known:
        return None
    ended = next((trial for trial in known if trial["verdict"] is not None), known[0])
    packed = [each for each in sketches if each is not None]
    return {
        **known[0],
        "seconds": max(trial["seconds"] for trial in known),
        **{key: sum(trial[key] for trial in known) for key in _COUNTS},
        "p99": unpack(each["canary"] for each in packed).get_quantile_value(0.99),
        "referenceP99": unpack(each["reference"] for each in packed).get_quantile_value(0.99),
        "verdict": ended["verdict"],
        "reason": ended["reason"],
    }


def _first(troubles: Iterable[str | None]) -> str | None:
    return next((trouble for trouble in troubles if trouble is not None), None)


def _replica(part: Part) -> dict[str, Any]:
    told, keys = part.told, ("version", "since", "usage", "errors")
    policy = told.get("policy") or {}
    facts = {key: policy[key] for key in keys if key in policy} or {"version": None}
    return part.replica(**facts, **({"pid": told["pid"]} if "pid" in told else {}))
