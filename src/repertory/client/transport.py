"""The one module that knows httpx2: requests as it wants them, failures as it tells them."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import httpx2

from repertory.client.exchange import Call, Form, Reply
from repertory.client.pursuit import CONNECT_SECONDS, Attempt, Lost
from repertory.client.settings import Settings

SCORING_TIME = "X-Request-Timeout"
# What goes wrong before a request is on its way.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


def options(settings: Settings) -> dict[str, Any]:
    """Return how clients of httpx2 are made.

    No redirect is followed, which would carry a token elsewhere. Proxies and `.netrc` of the
    environment are for the Internet, where nodes are not.
    """
    return {
        # Without https there is nothing to verify, and no need to load certificates.
        "verify": settings.tls if settings.tls is not None else False,
        "headers": settings.headers | {"Accept": "application/json"},
        "trust_env": False,
        "follow_redirects": False,
    }


@contextmanager
def request(call: Call[Any], attempt: Attempt) -> Iterator[dict[str, Any]]:
    """Enter with the arguments of a request; files that it sends are open meanwhile."""
    arguments: dict[str, Any] = {
        "method": call.method,
        "url": attempt.url + call.path,
        "params": dict(call.query),
        "timeout": httpx2.Timeout(attempt.seconds, connect=min(attempt.seconds, CONNECT_SECONDS)),
        "headers": {SCORING_TIME: f"{attempt.seconds:.3f}"} if call.scoring else {},
    }
    with ExitStack() as stack:
        if isinstance(call.body, Form):
            content: BinaryIO = stack.enter_context(_opened(call.body))
            arguments["data"] = dict(call.body.fields)
            arguments["files"] = {"file": (call.body.filename, content)}
        elif call.body is not None:
            arguments["content"] = call.body
            arguments["headers"]["Content-Type"] = call.content_type
        yield arguments


def _opened(form: Form) -> BinaryIO:
    return io.BytesIO(form.content) if isinstance(form.content, bytes) else form.content.open("rb")


def reply(response: httpx2.Response) -> Reply:
    """Return a response that was read whole."""
    return Reply(response.status_code, response.content, response.headers.get("Retry-After"))


def lost(error: httpx2.RequestError) -> Lost:
    """Return what is known of a request without a response."""
    why = str(error) or type(error).__name__
    timed_out = isinstance(error, httpx2.TimeoutException)
    return Lost(why, sent=not isinstance(error, _UNSENT), timed_out=timed_out)
