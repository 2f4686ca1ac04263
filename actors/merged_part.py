"""What one of several nodes answered to a question that was asked of all of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What actors answer to routers only, so that routers can merge it.
_FOR_ROUTERS = frozenset({"sketches", "position", "pid", "recent"})


@dataclass(frozen=True, slots=True)
class Part:
    """A node's answer: its present one, or its last, or why there is none.

    `answer` is None when nothing was ever heard from the node. While the node cannot be reached,
    `unreachable_since_ms` says since when (epoch), and the answer is the last that is known.
    `error` is why a node that can be reached has no answer.
    """

    node: str
    answer: Mapping[str, Any] | None
    as_of_ms: int  # epoch
    unreachable_since_ms: int | None = None
    error: str | None = None

    @property
    def told(self) -> Mapping[str, Any]:
        """The answer; empty when there is none."""
        return self.answer or {}

    def replica(self, **facts: Any) -> dict[str, Any]:
        """Return what is told of this node beside what all say together."""
        if self.answer is None and self.unreachable_since_ms is None:
            return {"error": self.error or "it has not answered"}
        if self.unreachable_since_ms is None:
            return facts
        about = {"unreachableSince": self.unreachable_since_ms}
        return about if self.answer is None else {**facts, "asOf": self.as_of_ms, **about}


def bare(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as it is without what routers need to merge it."""
    return {key: value for key, value in told.items() if key not in _FOR_ROUTERS}


def position(told: Mapping[str, Any]) -> int:
    """Return the journal position of what a node tells of a model; of older ones, the version."""
    found: int = told.get("position") or told["version"]
    return found


def by_name(parts: Sequence[Part]) -> list[Part]:
    """Return the parts in the order that does not depend on who was asked."""
    return sorted(parts, key=lambda part: part.node)


def foremost(parts: Sequence[Part]) -> Part:
    """Return the part of several, of the same version, whose facts stand for all of them."""
    return min(parts, key=lambda part: (part.unreachable_since_ms is not None, part.node))
