"""Every error is JSON, with one form, whatever raised it."""

import asyncio
import gzip
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from repertory.actors.local_node import LocalNode
from repertory.errors import REQUEST_FAILURES, FailureCode, request_failure
from repertory.http.errors_middleware import STATUSES, errors_as_json


async def test_an_unknown_path_is_named(call: Any) -> None:
    for path in ("/nope", "/models/", "/score", "/score/wine/now", "/%00"):
        reply = await call("GET", path)
        assert (reply.status, set(reply.body)) == (404, {"error"})
        assert "GET / lists" in reply.body["error"]


async def test_a_wrong_method_is_told_the_right_ones(call: Any) -> None:
    reply = await call("DELETE", "/models")
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, POST"
    assert reply.body == {"error": "/models takes GET, POST, not DELETE"}


def test_every_failure_of_a_request_has_a_status() -> None:
    assert set(STATUSES) == set(REQUEST_FAILURES)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_request", 400),
        ("unknown_data_type", 404),
        ("not_found", 404),
        ("rejected", 422),
        ("overloaded", 429),
        ("internal", 500),
        ("no_model", 503),
        ("unavailable", 503),
        ("deadline_exceeded", 504),
    ],
)
async def test_a_failure_becomes_its_status(code: str, status: int) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise request_failure(FailureCode(code), "why it failed")

    reply, body = await _answer(fail)
    assert (reply.status, body) == (status, {"error": "why it failed"})
    assert ("Retry-After" in reply.headers) == (code in ("overloaded", "unavailable"))


async def test_a_defect_is_an_error_in_json_too() -> None:
    async def fail(_: web.Request) -> web.Response:
        raise ZeroDivisionError("oh")

    reply, body = await _answer(fail)
    assert (reply.status, body) == (500, {"error": "a defect in Repertory: ZeroDivisionError: oh"})


async def _answer(handler: Any) -> tuple[Any, Any]:
    app = web.Application(middlewares=[errors_as_json])
    app.router.add_get("/", handler)
    async with TestClient(TestServer(app)) as client, client.get("/") as reply:
        return reply, await reply.json()


async def _raw(node: LocalNode, request: bytes) -> tuple[int, Any]:
    address = urlsplit(node.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
    writer.close()
    return int(head.split()[1]), orjson.loads(body)


@pytest.mark.parametrize(
    "request_line",
    [
        b"garbage\r\n\r\n",
        b"GET /models HTTP/9.x\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"POST /score/wine HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /score/wine HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_in_json(
    shared_node: LocalNode, request_line: bytes
) -> None:
    status, body = await _raw(shared_node, request_line)
    assert (status, set(body)) == (400, {"error"})


async def test_a_header_that_is_no_utf_8_is_told_as_it_can_be(shared_node: LocalNode) -> None:
    form = b"multipart/form-data; bo\xffdary=x"
    head = b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Type: " + form
    status, body = await _raw(shared_node, head + b"\r\n\r\nx")
    assert (status, "bo\\udcffdary=x" in body["error"]) == (400, True), body


async def test_a_body_that_cannot_be_unpacked_is_refused(call: Any) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for path in ("/score/wine", "/models"):
        reply = await call("POST", path, data=b"not gzip", headers=headers)
        assert (reply.status, set(reply.body)) == (400, {"error"})


async def test_a_body_that_grows_beyond_the_limit_is_refused(call: Any, spool: Any) -> None:
    bomb = gzip.compress(b" " * 30_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for path in ("/score/wine", "/models"):
        reply = await call("POST", path, data=bomb, headers=headers)
        assert (reply.status, set(reply.body)) == (413, {"error"})
    assert spool() == []
