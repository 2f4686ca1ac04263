"""Several texts in Prometheus' format as one."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Family:
    head: list[str] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)  # by name and labels, as they are written


def merged(texts: Iterable[str]) -> str:
    """Return the metrics of all texts, each family once, as the format demands.

    A series that several texts have (two Kafka faces, while one replaces the other) is their sum.
    The texts are of this product: their samples have no timestamps.
    """
    families: dict[str, _Family] = {}
    for text in texts:
        _add(families, text)
    lines = [
        line
        for family in families.values()
        for line in (*family.head, *(f"{key} {value}" for key, value in family.samples.items()))
    ]
    return "\n".join([*lines, ""])


def _add(families: dict[str, _Family], text: str) -> None:
    known = set(families)
    family = _Family()
    # Not splitlines, which would cut at characters that label values may hold.
    for line in filter(None, text.split("\n")):
        if line.startswith("#"):
            name = line.split(" ", 3)[2]
            family = families.setdefault(name, _Family())
            if name not in known:
                family.head.append(line)
            continue
        key, value = line.rsplit(" ", 1)
        if key in family.samples:
            value = repr(float(family.samples[key]) + float(value))
        family.samples[key] = value
