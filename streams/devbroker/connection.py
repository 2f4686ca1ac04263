"""One client's connection: frames in, answers out, in the same order."""

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Any

from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.handlers.table import HANDLERS
from repertory.streams.devbroker.protocol import ApiKey, MalformedRequest, Refused
from repertory.streams.devbroker.request import Node, Request
from repertory.streams.devbroker.versions import SUPPORTED

_AHEAD = 8  # requests read before the one being answered is done
_SMALLEST = 8  # bytes of a request: key, version, correlation id
_SIZE = struct.Struct(">i")
_HEAD = struct.Struct(">ii")  # size, correlation id
_BEFORE_LOGIN = (ApiKey.SASL_HANDSHAKE, ApiKey.API_VERSIONS, ApiKey.SASL_AUTHENTICATE)
_log = logging.getLogger(__name__)


class Connection:
    """Reads ahead, so that it notices at once when the client goes away, even while one of its
    requests is parked. Requests are answered one after the other, as Apache Kafka does.
    """

    def __init__(
        self, node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.host = str(writer.get_extra_info("peername")[0])
        self.mechanism: str | None = None
        self.authenticated = not node.settings.users

    async def serve(self) -> None:
        """Answer until the client goes away or sends what cannot be understood."""
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reading = asyncio.create_task(self._read_frames())
        try:
            while (frame := await self._frames.get()) is not None:
                await self._answer(frame)
        except ConnectionError:
            pass
        except (MalformedRequest, Refused) as error:
            _log.warning("connection of %s closed: %s", self.host, error)
        except Exception:  # noqa: BLE001 - a defect; it must end this connection only
            _log.exception("connection of %s closed", self.host)
        finally:
            reading.cancel()
            self._writer.close()  # once the client has taken what it was sent, or at `break_off`
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def break_off(self) -> None:
        """Close at once; `serve` then returns."""
        self._writer.transport.abort()

    async def _read_frames(self) -> None:
        try:
            while True:
                (size,) = _SIZE.unpack(await self._reader.readexactly(_SIZE.size))
                if not _SMALLEST <= size <= self._node.settings.max_request_bytes:
                    _log.warning(
                        "connection of %s closed: it announced a request of %d bytes; %d to %d "
                        "are allowed",
                        self.host,
                        size,
                        _SMALLEST,
                        self._node.settings.max_request_bytes,
                    )
                    break
                await self._frames.put(await self._reader.readexactly(size))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone
        self._broken.set_result(None)
        await self._frames.put(None)

    async def wait(self, future: "asyncio.Future[Any]", timeout: float | None = None) -> Any:
        """Return the future's result, None after `timeout` seconds.

        Raises ConnectionError if the client goes away first.
        """
        await asyncio.wait(
            (future, self._broken), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if future.done():
            return future.result()
        if self._broken.done():
            raise ConnectionError("the client is gone")
        return None

    async def _answer(self, frame: bytes) -> None:
        read = Reader(frame)
        number, version, correlation = read.int16(), read.int16(), read.int32()
        try:
            key = ApiKey(number)
        except ValueError:
            raise MalformedRequest(f"no request has the number {number} here") from None
        if not self.authenticated and key not in _BEFORE_LOGIN:
            raise MalformedRequest(f"{key.name} before logging in")
        versions = SUPPORTED[key]
        if key is not ApiKey.API_VERSIONS and not versions.oldest <= version <= versions.newest:
            raise MalformedRequest(f"{key.name} has no version {version} here")
        flexible = version >= versions.flexible_from
        client_id = read.string() if key is not ApiKey.API_VERSIONS else ""
        read.flexible = flexible
        read.tags()
        request = Request(version, client_id or "client", read, self, flexible=flexible)
        writer = await HANDLERS[key](self._node, request)
        if writer is not None:
            await self._send(correlation, writer)

    async def _send(self, correlation: int, writer: Writer) -> None:
        tags = Writer(flexible=writer.flexible).tags().to_bytes()
        head = _HEAD.pack(4 + len(tags) + writer.size, correlation) + tags
        # Not writelines, which in Python 3.12 and 3.13.0 never gets done with an empty part at the
        # end, and fails when the connection is lost.
        self._writer.write(b"".join([head, *writer.parts]))
        await self._writer.drain()
