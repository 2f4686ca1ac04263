"""Quantile sketches that travel: what several processes counted, merged as if one had counted it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.pb.proto import DDSketchProto

# Quantiles are within 1 % of the true value; so are those of sketches that were merged.
RELATIVE_ACCURACY = 0.01

_MAPPING = LogarithmicMapping(RELATIVE_ACCURACY)

Packed = Mapping[str, Any]
"""A sketch for JSON: what is in its bins, by number of the bin, and how many values are 0."""


def new_sketch() -> DDSketch:
    """Return an empty sketch. All that are merged are alike."""
    return DDSketch(RELATIVE_ACCURACY)


def pack(sketch: DDSketch) -> dict[str, Any]:
    """Return a sketch whose weights are whole numbers, for JSON; empty bins are left out."""
    message = DDSketchProto.to_proto(sketch)  # type: ignore[no-untyped-call]
    return {
        "positive": _bins(message.positiveValues),
        "negative": _bins(message.negativeValues),
        "zeros": int(message.zeroCount),
    }


def add_packed(sketch: DDSketch, packed: Packed) -> None:
    """Count what a packed sketch counted."""
    # DDSketch's own protobuf comes back with another gamma in its last digit, and does not merge.
    for sign, name in ((1, "positive"), (-1, "negative")):
        for number, count in packed[name]:
            sketch.add(sign * _MAPPING.value(number), count)
    if packed["zeros"]:
        sketch.add(0.0, packed["zeros"])


def unpack(packed: Iterable[Packed]) -> DDSketch:
    """Return what packed sketches counted, together."""
    whole = new_sketch()
    for each in packed:
        add_packed(whole, each)
    return whole


def gained(now: Packed, before: Packed | None) -> dict[str, Any]:
    """Return what a packed sketch counts that the same one did not count before; all, if None."""
    if before is None:
        return dict(now)
    gain: dict[str, Any] = {"zeros": now["zeros"] - before["zeros"]}
    for name in ("positive", "negative"):
        counts = dict(before[name])
        bins = [(number, count - counts.get(number, 0)) for number, count in now[name]]
        gain[name] = [(number, count) for number, count in bins if count]
    return gain


def wants_sketches(question: bytes) -> bool:
    """Return whether a question, as JSON, wants an answer that can be merged with others."""
    return bool(question) and bool(orjson.loads(question).get("sketches"))


def _bins(store: Any) -> list[tuple[int, int]]:
    first = store.contiguousBinIndexOffset
    return [
        (first + place, int(count))
        for place, count in enumerate(store.contiguousBinCounts)
        if count
    ]
