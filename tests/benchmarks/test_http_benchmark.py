"""The load generator tells the truth, and its tables do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import Any

import grpc
import pytest
from benchmarks.grpc_connection import GrpcConnection
from benchmarks.http_connection import HttpConnection, NotAnswered
from benchmarks.http_load import Make, closed, moments, once, paced
from benchmarks.http_servers import PEERS, Server, repertory
from benchmarks.http_table import markdown, medians, verdicts
from benchmarks.http_trial import PACE, Result

ASK: Make = partial(HttpConnection, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngood \r\n4\r\nwine\r\n0\r\n\r\n"
)
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull"


class Scripted(asyncio.Protocol):
    """Answers each request with the same, after a while."""

    def __init__(self, answer: bytes, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        asyncio.get_running_loop().call_later(self._seconds, self._transport.write, self._answer)


@contextmanager
def in_a_thread(serving: AbstractAsyncContextManager[int]) -> Iterator[int]:
    """Run a server in a loop of its own; its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(20)
    finally:
        ended = serving.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ended, loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@asynccontextmanager
async def scripted(answer: bytes, seconds: float) -> AsyncIterator[int]:
    """A server over HTTP."""
    made = partial(Scripted, answer, seconds)
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


def http_server(answer: bytes = GOOD, seconds: float = 0.0) -> AbstractContextManager[int]:
    """A server that answers each request with the same; its port."""
    return in_a_thread(scripted(answer, seconds))


def test_clients_that_wait_ask_again_once_they_are_answered() -> None:
    with http_server() as port:
        taken = closed(port, [ASK] * 3, warm=0.0, seconds=0.2)
    assert taken.answered >= len(taken.latencies) > 3
    assert [reply.body for reply in taken.replies] == [b"ok"] * 3


def test_an_answer_in_chunks_is_put_together() -> None:
    with http_server(CHUNKED) as port:
        assert once(port, ASK).body == b"good wine"


def test_an_answer_that_is_none_ends_the_load() -> None:
    with http_server(BAD) as port, pytest.raises(NotAnswered, match="503 Service Unavailable"):
        once(port, ASK)


def test_what_waits_for_a_slow_server_is_late_from_the_moment_when_it_was_due() -> None:
    """One connection gets 50 answers a second, and is asked for 200."""
    with http_server(seconds=0.02) as port:
        taken = paced(port, [ASK], 200, warm=0.0, seconds=0.3)
    assert taken.answered == len(taken.latencies) == len(moments(200, 0.3))
    assert max(taken.latencies) > 0.02 * taken.answered / 2


def test_moments_are_as_many_as_the_rate_says_and_the_same_for_all() -> None:
    assert moments(1000, 2.0) == moments(1000, 2.0)
    assert 1800 < len(moments(1000, 2.0)) < 2200


async def echo(message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Answer with what was asked, unless that is nothing."""
    if not message:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing to say")
    return message


@asynccontextmanager
async def grpcio() -> AsyncIterator[int]:
    """A server of grpcio."""
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("s.Echo", {"Say": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


def grpc_server() -> AbstractContextManager[int]:
    """A server that answers a message with itself; its port."""
    return in_a_thread(grpcio())


def test_a_connection_of_frames_is_answered_by_grpcio() -> None:
    with grpc_server() as port:
        taken = closed(
            port, [partial(GrpcConnection, "/s.Echo/Say", b"wine")] * 2, warm=0.0, seconds=0.2
        )
        assert {reply.body for reply in taken.replies} == {b"wine"}
        assert taken.answered > 2


@pytest.mark.parametrize(("method", "message"), [("/s.Echo/Say", b""), ("/s.Echo/Shout", b"wine")])
def test_a_status_of_grpc_is_no_answer(method: str, message: bytes) -> None:
    with grpc_server() as port, pytest.raises(NotAnswered, match="no message"):
        once(port, partial(GrpcConnection, method, message))


SERVERS: list[Server] = [repertory(), *PEERS["fastapi"].servers(), *PEERS["litserve"].servers()]


def results(rates: dict[tuple[str, str], float]) -> list[Result]:
    return [
        Result(1, server, form, load, rate=rate, p50_ms=1000 / rate, p99_ms=2000 / rate)
        for (server, form), rate in rates.items()
        for load in ("1", "16", "64", PACE)
    ]


RATES = {
    ("repertory", "`/score`"): 1000.0,
    ("fastapi", "`/predict`"): 2000.0,
    ("litserve, not batching", "`/predict`"): 100.0,
    ("litserve, batching", "`/predict`"): 500.0,
}


def test_the_setting_that_gets_more_done_is_shown_and_the_other_named_below() -> None:
    lines = markdown(medians(results(RATES)), SERVERS)
    assert sum(line.startswith("| LitServe, batching | `/predict` | 500") for line in lines) == 2
    assert lines[-1].startswith("* LitServe, not batching, `/predict`: 100, 100, 100 requests/s")


def test_a_form_that_failed_once_is_shown_as_failed() -> None:
    failed = Result(2, "fastapi", "`/predict`", "", failure="it has ended")
    lines = markdown(medians([*results(RATES), failed]), SERVERS)
    assert any(line.startswith("| FastAPI | `/predict` | failed") for line in lines)


def test_the_floor_is_no_peer_to_be_ahead_of_but_its_latency_is_a_limit() -> None:
    lines = verdicts(medians(results(RATES)), SERVERS)
    assert (
        "ok requests/s, 64 clients: /score 1,000.00, litserve, batching `/predict` 500.00" in lines
    )
    assert lines[-1] == "NO p50 of one client: 2.00 times FastAPI's"
