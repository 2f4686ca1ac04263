"""The answers of several nodes, made one: the same whichever node is asked. Pure.

Nodes are to be asked with `{"sketches": true}`, so that they say what merging needs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repertory.actors.merged_models import merged_models
from repertory.actors.merged_part import Part
from repertory.actors.merged_policies import merged_comparison
from repertory.actors.merged_states import merged_state

__all__ = ["Part", "merge"]

_MERGERS: Mapping[str, Callable[[Sequence[Part]], dict[str, Any]]] = {
    "models": merged_models,
    "state": merged_state,
    "comparison": merged_comparison,
}


def merge(subject: str, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what nodes answer together: "models", "state" or "comparison".

    `asOf` is the oldest moment (epoch ms) that any part of it is from. While a node cannot be
    reached, its last answer counts, `stale` is true, and `staleSince` says since when. Of several
    versions the newest is told, and what has the same version is merged; `replicas` tell of each
    node. What one node that can be reached says alone is told as it is.

    Raises ValueError when no part has an answer.
    """
    heard = [part.as_of_ms for part in parts if part.answer is not None]
    if not heard:
        raise ValueError(f"nobody has an answer about {subject}")
    merged = _MERGERS[subject](parts)
    merged["asOf"] = min(heard)
    gone = [part.unreachable_since_ms for part in parts if part.unreachable_since_ms is not None]
    if gone:
        merged |= {"stale": True, "staleSince": min(gone)}
    return merged
