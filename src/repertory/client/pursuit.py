"""How a call is pursued: which node is asked, when again, and when it is given up.

Pure: it is told what became of each attempt and what time it is, and says what to do next. Those
that carry it out, with threads or with tasks, are in `client.py` and `async_client.py`.
"""

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar

from repertory.client.exchange import Call, Repeat, Reply
from repertory.client.failures import Unreachable, failure
from repertory.errors import DeadlineExceeded, InternalError, RequestFailed

T = TypeVar("T")

# The first pause; each further one is twice as long, up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
# A node that does not take a connection in this time is passed over: another one may.
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """Ask this node, for at most so many seconds."""

    url: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """There was no reply; `sent`: the node may have got the request."""

    why: str
    sent: bool
    timed_out: bool = False


Step = Attempt | Pause
Heard = Reply | Lost | None


class Nodes:
    """The addresses of nodes, of which any answers; the one that answered last is asked first."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._first = 0

    def in_order(self) -> tuple[str, ...]:
        """Return the addresses in the order in which to ask."""
        first = self._first
        return self._urls[first:] + self._urls[:first]

    def prefer(self, url: str) -> None:
        """Ask this node first from now on."""
        self._first = self._urls.index(url)


class Pursuit:
    """One call, from its first attempt to its answer or its failure."""

    def __init__(
        self, nodes: Nodes, *, seconds: float, retries: int, now: Callable[[], float]
    ) -> None:
        self._nodes = nodes
        self._seconds = seconds
        self._retries = retries
        self._now = now
        self._deadline = now() + seconds

    def steps(self, call: Call[T]) -> Generator[Step, Heard, T]:
        """Yield what to do, be sent what came of it, and return the answer.

        Each node is asked once without a pause in between; only then is one made, and counted as
        a retry. What a node says of when to ask again is kept to. Raises a RequestFailed.
        """
        urls, retries, pause = self._nodes.in_order(), 0, FIRST_PAUSE
        for asked in count(1):
            url = urls[(asked - 1) % len(urls)]
            heard = yield Attempt(url, self._left())
            if isinstance(heard, Reply) and not is_refusal(call, heard):
                self._nodes.prefer(url)
                return understood(call, heard, url)
            assert heard is not None, "an attempt ends with a reply or without"
            error = self._error(call, url, heard)
            if isinstance(heard, Lost) and not self._may_repeat(call, heard):
                raise error
            if asked % len(urls) and not _is_overload(heard):
                continue
            wait = max(pause * random.uniform(0.5, 1.0), _told_to_wait(heard))
            if retries == self._retries or wait >= self._left():
                raise error
            yield Pause(wait)
            retries, pause = retries + 1, min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("retries end")

    def _left(self) -> float:
        return max(self._deadline - self._now(), 0.001)

    def _may_repeat(self, call: Call[Any], lost: Lost) -> bool:
        if lost.sent:  # an attempt may take all the time there is: after it, there is none
            return call.repeat is Repeat.FREELY and not lost.timed_out
        return self._now() < self._deadline

    def _error(self, call: Call[Any], url: str, heard: Reply | Lost) -> RequestFailed:
        if isinstance(heard, Reply):
            return failure(heard.status, _document(heard), again=True)
        unknown = heard.sent and call.repeat is Repeat.UNSENT
        doubt = "; whether it did what it was asked is unknown" if unknown else ""
        if heard.sent and heard.timed_out:
            return DeadlineExceeded(f"{url} did not answer within {self._seconds:g} s{doubt}")
        return Unreachable(f"no answer from {url}: {heard.why}{doubt}")


def understood(call: Call[T], reply: Reply, url: str) -> T:
    """Return what a reply says. Raises a RequestFailed."""
    try:
        document = reply.document()
    except ValueError:
        told = f"{url} answered {reply.status} without a JSON object: is it a Repertory node?"
        if reply.status < 400:
            raise InternalError(told) from None
        raise failure(reply.status, {"error": told}, again=False) from None
    if reply.status >= 400 and reply.status not in call.accepted:
        raise failure(reply.status, document, again=False)
    try:
        return call.understand(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise InternalError(f"{url} answered {call.path} as no node does: {error!r}") from error


def is_refusal(call: Call[Any], reply: Reply) -> bool:
    """Whether a reply may be another one in a moment, and nothing was done.

    A node that has no model for a data type says so by a 503, too, but names no time to ask again.
    """
    if reply.status in call.accepted:
        return False
    if reply.status == 502:  # of a proxy, which does not say what became of the request
        return call.repeat is Repeat.FREELY
    if reply.status == 503 and reply.retry_after is None:
        return "error" not in _document(reply)
    return reply.status in (429, 503)


def _document(reply: Reply) -> dict[str, Any]:
    try:
        return reply.document()
    except ValueError:
        return {}


def _is_overload(heard: Reply | Lost) -> bool:
    # What one client may do is counted for all nodes together, or would be escaped by asking all.
    return isinstance(heard, Reply) and heard.status == 429


def _told_to_wait(heard: Reply | Lost) -> float:
    text = heard.retry_after if isinstance(heard, Reply) else None
    if text is None:
        return 0.0
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max((moment.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)
