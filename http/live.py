"""`GET /events`: what a node sees, told to all who listen, as server-sent events."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import Overloaded, RequestFailed, Unavailable
from repertory.http.asking import ask
from repertory.http.cluster import described
from repertory.http.in_hand import InHand
from repertory.http.latencies import Latencies
from repertory.http.signature import Signature
from repertory.http.standing import fallen
from repertory.http.states import state_of

# Whoever watches sees a swap within a second, also when the page has much to draw.
EVERY_SECONDS = 0.5
# A router answers in milliseconds, and for another node within a second; a frozen one never does.
PATIENCE_SECONDS = 2.0
# So many questions are under way at a time: those who score are not to feel that they are watched.
AT_A_TIME = 8
# Each has a connection open for as long as it likes.
MOST_LISTENERS = 100
# Who has not read a message after that long will not read the next one either.
STUCK_SECONDS = 15.0
# Proxies hold back, and browsers keep, what they are not told to pass on at once (nginx reads the last).
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

log = structlog.get_logger(__name__)


class Live:
    """Looks at the router while anybody listens, once for all of them."""

    def __init__(self, config: ClusterConfig, router: RouterClient, in_hand: InHand) -> None:
        self._router = router
        self._in_hand = in_hand
        self._fields = {
            name: _fields(Signature.of(each)) for name, each in sorted(config.data_types.items())
        }
        self._latencies = {name: Latencies() for name in self._fields}
        self._limit = asyncio.Semaphore(AT_A_TIME)
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self._seen = b""  # the last look, as a message; empty while nobody looks
        self._beat: asyncio.Future[bytes] | None = None  # what comes next, while anybody listens

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell what is seen now, and each change, until the client leaves or the face drains.

        `look` is all there is to see; after it, and each time that nothing else is to be seen,
        `time` says when that was so, and the latencies of the last seconds, or `trouble` that the
        router does not answer.
        Raises Overloaded when too many listen, Unavailable when the face ends.
        """
        if self._in_hand.draining:
            raise Unavailable("this process is shutting down")
        if self._listeners >= MOST_LISTENERS:
            raise Overloaded(f"{MOST_LISTENERS} listen already: close other pages, or ask /state")
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()  # there is no next request on a connection without an end
        with self._listening():
            await response.prepare(request)
            await _first(self._send(response), self._in_hand.ending.wait(), fallen())
        return response

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        self._listeners += 1
        if self._looking is None:
            self._beat = asyncio.get_running_loop().create_future()
            self._looking = asyncio.create_task(self._look_on(self._beat))
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._looking.cancel()
                self._looking, self._beat, self._seen = None, None, b""
                self._latencies = {name: Latencies() for name in self._fields}

    async def _send(self, response: web.StreamResponse) -> None:
        """Send until the client is gone, or does not read; a slow one is told the last look only."""
        told = beat = b""
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while self._beat is not None:
                message = beat if told is self._seen else self._seen + beat
                told = self._seen
                if message:
                    async with asyncio.timeout(STUCK_SECONDS):
                        await response.write(message)
                beat = await asyncio.shield(self._beat)

    async def _look_on(self, beat: asyncio.Future[bytes]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            said = await self._next()
            self._beat = loop.create_future()
            beat.set_result(said)
            beat = self._beat
            await asyncio.sleep(begun + EVERY_SECONDS - loop.time())

    async def _next(self) -> bytes:
        """Look, and return what to say to those who know what was seen last."""
        at = round(time.time() * 1000)
        try:
            seen = await self._look()
        except RequestFailed as error:
            return _message("trouble", {"at": at, "error": str(error)})
        except Exception as error:  # or else all who listen would wait for ever
            log.exception("a look at the node failed")
            return _message("trouble", {"at": at, "error": f"a defect in Repertory: {error!r}"})
        if (look := _message("look", seen)) != self._seen:  # who was told it knows it by identity
            self._seen = look
        latencies = {name: each.as_json() for name, each in self._latencies.items()}
        return _message("time", {"at": at, "latencies": latencies})

    async def _look(self) -> dict[str, Any]:
        cluster = await ask(self._router, "cluster", timeout=PATIENCE_SECONDS)
        states = await asyncio.gather(*map(self._state, self._fields))
        data_types = {
            name: {"features": fields, "state": state}
            for (name, fields), state in zip(self._fields.items(), states, strict=True)
        }
        return {"dataTypes": data_types, "cluster": described(cluster)}

    async def _state(self, data_type: str) -> dict[str, Any]:
        try:
            async with self._limit:
                state = await state_of(
                    self._router, data_type, timeout=PATIENCE_SECONDS, details=True
                )
        except RequestFailed as error:
            return {"error": str(error)}
        now = asyncio.get_running_loop().time()
        self._latencies[data_type].note(state.pop("sketches", {}), now)
        return _timeless(state)


def _timeless(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state without the moment it is of, which is another each time, unless it is old."""
    slots = {name: _timeless(each) for name, each in state.get("slots", {}).items()}
    kept = state if state.get("stale") else {k: v for k, v in state.items() if k != "asOf"}
    return {**kept, "slots": slots} if slots else dict(kept)


async def _first(*doings: Coroutine[Any, Any, object]) -> None:
    """Do all at once, and end with the one that is done first."""
    tasks = [asyncio.create_task(each) for each in doings]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fields(signature: Signature) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "datatype": each.datatype, "width": each.width}
        for each in signature.fields
    ]


def _message(event: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data))
