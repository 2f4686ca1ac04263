"""One request and its reply, as the road to a node carries them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import orjson

T = TypeVar("T")


class Repeat(Enum):
    """When a request whose connection failed may be sent again."""

    FREELY = "it changes nothing"
    UNSENT = "only if nothing of it was sent: it might be done twice"


@dataclass(frozen=True, slots=True)
class Form:
    """A model to upload; a file is opened anew, and streamed, with each attempt."""

    fields: Mapping[str, str]
    content: Path | bytes
    filename: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a node answered."""

    status: int
    content: bytes
    retry_after: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises ValueError when it is none."""
        found = orjson.loads(self.content)
        if not isinstance(found, dict):
            raise ValueError("the body is no JSON object")  # noqa: TRY004 - as of what is no JSON
        return found


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """What to ask, and how to understand the answer.

    `accepted` are statuses from 400 on that are answers, too. `scoring` tells the node how long
    the call may take.
    """

    method: str
    path: str
    understand: Callable[[dict[str, Any]], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Form | None = None
    content_type: str = "application/json"
    repeat: Repeat = Repeat.FREELY
    accepted: frozenset[int] = frozenset()
    scoring: bool = False


def path(*parts: str) -> str:
    """Return the path of these parts, of which each may hold any character."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)
