"""The note beside a committed offset: which node left it, and how new its models were. Pure.

Brokers keep a text with each committed offset. Ours is a JSON object:

    {"node": "b", "floors": {"wine": 20}}

`floors` holds by data type the highest journal position of the models that scored records of the
partition. Whoever takes the partition over must not score its next records by older ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

# Brokers refuse more than 4096 bytes (offset.metadata.max.bytes), if not told otherwise.
MOST_BYTES = 4000


@dataclass(frozen=True)
class Note:
    """What is known of the one who committed an offset; nothing, if nobody left a note."""

    node: str = ""
    floors: Mapping[str, int] = field(default_factory=dict)


def write_note(note: Note) -> str:
    """Return a note as text. Should there be too many data types, the lowest floors are left out."""
    floors = sorted(note.floors.items(), key=lambda each: -each[1])
    while len(text := orjson.dumps({"node": note.node, "floors": dict(floors)})) > MOST_BYTES:
        del floors[-max(1, len(floors) // 10) :]
    return text.decode()


def read_note(text: str | None) -> Note:
    """Return the note in a text. One that is not ours says nothing."""
    try:
        found: Any = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return Note()
    if not isinstance(found, dict):
        return Note()
    node, floors = found.get("node"), found.get("floors")
    return Note(
        node if isinstance(node, str) else "",
        {
            name: position
            for name, position in (floors.items() if isinstance(floors, dict) else ())
            if type(position) is int and position > 0
        },
    )
