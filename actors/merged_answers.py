"""One answer of several nodes' answers to one question. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """What one node answered, or was known to answer."""

    node: str
    answer: Mapping[str, Any] | None
    as_of_ms: int
    unreachable_since_ms: int | None = None


def merge(subject: str, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the first answer."""
    del subject
    return dict(next(part.answer for part in parts if part.answer is not None))
