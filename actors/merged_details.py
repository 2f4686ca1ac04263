"""What nodes tell of a data type to one who looks on, beside its state. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from repertory.actors.merged_part import Part, by_name
from repertory.actors.recent import MOST_TOLD


def merged_details(parts: Sequence[Part]) -> dict[str, Any]:
    """Return `sketches` by node, and the records that were answered last, as `recent`.

    A sketch is of what a node counted since its model, or policy, is on stage there: what it counts
    from now on is the difference, as long as `version` and `since` stay.
    """
    heard = [part for part in by_name(parts) if part.answer is not None]
    recent = [each for part in heard for each in part.told.get("recent", ())]
    recent.sort(key=lambda each: each["at"], reverse=True)
    sketches = {part.node: _sketch(part.told) for part in heard if part.told.get("sketches")}
    return {"sketches": sketches, "recent": recent[:MOST_TOLD]}


def _sketch(told: Mapping[str, Any]) -> dict[str, Any]:
    what = told.get("policy") or told
    return {
        "version": what["version"],
        "since": what["since"],
        "pid": told.get("pid"),
        "times": told["sketches"]["times"],
    }
