"""What nodes answer of themselves, as they are asked for it by a router that merges."""

from collections.abc import Sequence
from typing import Any

import orjson

from repertory.actors.merged_answers import Part
from repertory.actors.statistics import Statistics

Batch = tuple[int, int, float]  # records, errors, milliseconds
NOW = 1_795_443_900_000


def counted(batches: Sequence[Batch]) -> Statistics:
    """Return the statistics of batches."""
    statistics = Statistics()
    for batch in batches:
        statistics.count(*batch)
    return statistics


def state(
    node: str, batches: Sequence[Batch] = (), *, version: int = 5, at: int = 5, since: int = 1
) -> dict[str, Any]:
    """Return the answer of a serving actor, whose model was put on stage by position `at`."""
    statistics = counted(batches)
    about = {"dataType": "wine", "name": f"m{version}", "description": "", "modelType": "ONNX"}
    told = {**about, "version": version, "sha256": f"{version:064}", "since": since}
    merging = {"sketches": {"times": statistics.sketch()}, "position": at, "pid": 7}
    return {**told, **statistics.as_json(), "node": node, **merging}


def part(
    node: str, answer: dict[str, Any] | None, *, gone: int | None = None, at: int = NOW
) -> Part:
    """Return a part, whose answer went over the wire."""
    over = None if answer is None else orjson.loads(orjson.dumps(answer))
    return Part(node, over, at, gone)
