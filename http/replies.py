"""JSON replies; every error has the one form `{"error": "…"}`."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

# A wait that is long enough for a router to come back, or for a queue to shrink.
RETRY_AFTER = {"Retry-After": "1"}


def json_reply(
    data: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a reply with a JSON body. NaN and infinities, which JSON has not, become null."""
    body = orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def error_reply(
    status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> web.Response:
    """Return the reply of a request that failed; `more` are further keys of its body."""
    # What stood in a header, and is no UTF-8, is told as it can be.
    text = message.encode(errors="backslashreplace").decode()
    return json_reply({"error": text, **more}, status=status, headers=headers)
