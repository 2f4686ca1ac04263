"""How the command line asks a node over HTTP."""

from pathlib import Path
from typing import Any

import aiohttp

from repertory.errors import RepertoryError

# A model is checked for half a minute at most; then it is loaded.
TIMEOUT = aiohttp.ClientTimeout(total=120, connect=5)


class CallFailed(RepertoryError):
    """A node could not be reached, or did not do what it was asked."""


async def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """Return the JSON that a node answers. Raises CallFailed with the node's own words."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        return await _answer(url, session.request(method, url + path, json=body))


async def upload(url: str, file: Path, fields: dict[str, str]) -> Any:
    """Publish a model file and return the node's answer, also that it was rejected."""
    with file.open("rb") as content:
        form = aiohttp.FormData(fields)
        form.add_field("file", content, filename=file.name)
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            return await _answer(url, session.post(url + "/models", data=form), accepted={422})


async def _answer(url: str, request: Any, accepted: frozenset[int] | set[int] = frozenset()) -> Any:
    try:
        async with request as reply:
            answer = await reply.json()
            if reply.status >= 400 and reply.status not in accepted:
                raise CallFailed(answer.get("error") or f"{url} answered {reply.status}")
            return answer
    except aiohttp.ContentTypeError as error:
        raise CallFailed(f"{url} is not a Repertory node: it answered no JSON") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CallFailed(
            f"no node answers at {url} ({error}); is `repertory up` running?"
        ) from error
