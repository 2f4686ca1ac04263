"""What all calls over gRPC have in common: a message comes in, a message or a status goes out."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from aiohttp import web
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from repertory.errors import (
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidRequest,
    NoModel,
    NotFound,
    Overloaded,
    PublishRejected,
    RequestFailed,
    Unauthenticated,
    Unavailable,
    UnknownDataType,
)
from repertory.http.in_hand import InHand

STATUSES: Mapping[type[RequestFailed], StatusCode] = {
    InvalidRequest: StatusCode.INVALID_ARGUMENT,
    Unauthenticated: StatusCode.UNAUTHENTICATED,
    Forbidden: StatusCode.PERMISSION_DENIED,
    UnknownDataType: StatusCode.NOT_FOUND,
    NotFound: StatusCode.NOT_FOUND,
    PublishRejected: StatusCode.INVALID_ARGUMENT,
    Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    InternalError: StatusCode.INTERNAL,
    NoModel: StatusCode.UNAVAILABLE,
    Unavailable: StatusCode.UNAVAILABLE,
    DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
}
# Clients take 8 KiB of metadata, which this is part of, percent-encoded.
MESSAGE_CHARACTERS = 1500
# Requests of one stream that are in hand at once; enough to make batches of.
STREAM_SHARE = 32
# gRPC cancels the calls that come while it stops, and clients do not try those again as they do
# what is refused: so it stops when none has come for so long, or after a moment at the latest.
QUIET_SECONDS, LINGER_SECONDS = 0.05, 1.0

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[Any, Context], Awaitable[Message]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service: the class of its requests, and who answers each of them."""

    request: type[Message]
    answer: Answer
    streams: bool = False  # many requests a call, a reply to each


class CallFailed(Exception):
    """A call ends without a reply, with this status."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Calls:
    """Answers calls. Each counts as in hand; what is raised in it becomes its status."""

    def __init__(self, in_hand: InHand) -> None:
        self._in_hand = in_hand
        self._readers: set[asyncio.Task[None]] = set()
        self._refused = -math.inf  # when that was last, a time of the loop
        self.ending = asyncio.Event()

    def service(self, name: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
        """Return the handler of a service."""
        handlers = {each: self._handler(f"{name}/{each}", how) for each, how in methods.items()}
        return grpc.method_handlers_generic_handler(name, handlers)

    def end(self) -> None:
        """Refuse calls from now on; streams end once what they have in hand is answered."""
        self.ending.set()
        for reader in self._readers:
            reader.cancel()

    async def quiet(self) -> None:
        """Wait until nobody asks any more, or a moment is over."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (left := self._refused + QUIET_SECONDS - loop.time()) > 0:
                    await asyncio.sleep(left)

    def _refuse_when_ending(self) -> None:
        if self.ending.is_set():
            self._refused = asyncio.get_running_loop().time()
            raise CallFailed(StatusCode.UNAVAILABLE, "this process is shutting down")

    def _handler(self, name: str, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
        async def one(content: bytes, context: Context) -> bytes:
            with self._in_hand.held():
                reply = await method.answer(_parsed(method.request, content), context)
                return reply.SerializeToString()

        async def unary(content: bytes, context: Context) -> bytes:
            async with _status(name, context):
                self._refuse_when_ending()
                return await one(content, context)

        async def stream(contents: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            async with _status(name, context):
                self._refuse_when_ending()
                async for reply in self._in_order(contents, lambda each: one(each, context)):
                    yield reply
                self._refuse_when_ending()

        # Without serialisers: gRPC would call garbage a defect of the server.
        if method.streams:
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)

    async def _in_order(
        self, contents: AsyncIterator[bytes], answer: Callable[[bytes], Coroutine[Any, Any, bytes]]
    ) -> AsyncIterator[bytes]:
        """Yield the answers in the order of the requests, of which several are in hand at once."""
        room = asyncio.Semaphore(STREAM_SHARE)
        tasks: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue()

        async def read() -> None:
            try:
                async for content in contents:
                    tasks.put_nowait(asyncio.create_task(answer(content)))
                    await room.acquire()
            finally:
                tasks.put_nowait(None)

        reader = asyncio.create_task(read())
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            while (task := await tasks.get()) is not None:
                yield await task
                room.release()
            with contextlib.suppress(asyncio.CancelledError):
                reader.result()
        finally:
            reader.cancel()
            while not tasks.empty():
                if (task := tasks.get_nowait()) is not None:
                    task.cancel()


def failure(error: Exception, method: str) -> CallFailed:
    """Return how a call ends that this was raised in. What nobody foresaw is logged."""
    if isinstance(error, CallFailed):
        return error
    if isinstance(error, RequestFailed):
        return CallFailed(STATUSES.get(type(error), StatusCode.INTERNAL), str(error))
    if isinstance(error, web.HTTPRequestEntityTooLarge):  # of what is shared with HTTP
        return CallFailed(StatusCode.RESOURCE_EXHAUSTED, error.text or error.reason)
    log.error("a call failed", method=method, exc_info=error)
    message = f"a defect in Repertory: {type(error).__name__}: {error}"
    return CallFailed(StatusCode.INTERNAL, message)


@contextlib.asynccontextmanager
async def _status(name: str, context: Context) -> AsyncIterator[None]:
    """Tell the client with which status a call ends; one that it gave up is left cancelled."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the border of a call; the client is told
        failed = failure(error, name)
    else:
        return
    await context.abort(failed.code, failed.message[:MESSAGE_CHARACTERS])


def _parsed(message: type[Message], content: bytes) -> Message:
    try:
        return message.FromString(content)
    except DecodeError as error:
        name = message.DESCRIPTOR.full_name
        raise InvalidRequest(f"the request is no {name}: {error}") from None
