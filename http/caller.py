"""How the command line asks a node over HTTP."""

import os
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from repertory.errors import RepertoryError

# A model is checked for half a minute at most, others may be checked before it; then it is loaded.
TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5)
TOKEN_VARIABLE = "REPERTORY_TOKEN"


class CallFailed(RepertoryError):
    """A node could not be reached, or did not do what it was asked."""


class Unreachable(CallFailed):
    """A node gave no answer at all: another one may."""


def node_url(text: str) -> str:
    """Return a node's address with its scheme and no slash at the end. Raises ValueError."""
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 80)
    except ValueError:  # of a port that is no number, and of brackets
        whole = False
    if not whole or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not an address such as http://127.0.0.1:5500")
    return url


def path(*parts: str) -> str:
    """Return the path of these parts, of which each may hold any character."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def credentials() -> dict[str, str]:
    """Return the header with the token of the environment, if there is one."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


async def call(url: str, method: str, path: str, body: Any = None) -> Any:
    """Return the JSON object that a node answers. Raises CallFailed with the node's own words.

    Of what `body` holds, NaN and infinity are sent as null, and what JSON does not know as text.
    """
    data = None if body is None else orjson.dumps(body, default=str)
    headers = {"Content-Type": "application/json"} if data is not None else {}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=credentials()) as session:
        return await _answer(url, session.request(method, url + path, data=data, headers=headers))


class Caller:
    """Asks nodes again and again, over connections that stay open. A context manager."""

    def __init__(self, seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open nothing yet: a connection is opened when it is needed."""
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=credentials())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, path: str) -> Any:
        """Return the JSON object that a node answers.

        Raises Unreachable when it does not within the caller's seconds, or else CallFailed.
        """
        assert self._session is not None, "a Caller is to be entered first"
        return await _answer(url, self._session.get(url + path))


async def upload(url: str, file: Path, fields: dict[str, str]) -> Any:
    """Publish a model file and return the node's answer, also that it was rejected."""
    with file.open("rb") as content:
        form = aiohttp.FormData(fields)
        form.add_field("file", content, filename=file.name)
        async with aiohttp.ClientSession(timeout=TIMEOUT, headers=credentials()) as session:
            return await _answer(url, session.post(url + "/models", data=form), accepted={422})


async def _answer(url: str, request: Any, accepted: frozenset[int] | set[int] = frozenset()) -> Any:
    try:
        async with request as reply:
            status, content = reply.status, await reply.read()
    except TimeoutError as error:  # before ClientError: some are both
        raise Unreachable(f"{url} did not answer in time; try again") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreachable(
            f"{url} shows a certificate that is not trusted: {error.certificate_error};"
            " SSL_CERT_FILE names the authority's"
        ) from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno  # its text holds the address once more
        why = os.strerror(number) if number and number > 0 else str(error.os_error)
        raise Unreachable(f"no node answers at {url}: {why}; is `repertory up` running?") from error
    except aiohttp.ClientError as error:
        raise Unreachable(f"{url} broke off: {error}; is `repertory up` still running?") from error
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CallFailed(f"{url} is not a Repertory node: it answered no JSON") from error
    if not isinstance(answer, dict):
        raise CallFailed(f"{url} is not a Repertory node: it answered no JSON object")
    if status >= 400 and status not in accepted:
        raise CallFailed(str(answer.get("error") or f"{url} answered {status}"))
    return answer
