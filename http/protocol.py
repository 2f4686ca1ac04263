"""The server's end of one HTTP connection."""

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from repertory.http.patience import PatientProtocol
from repertory.http.replies import error_reply

# Two numbers, so that what is too long can be told from each other: aiohttp says the limit alone.
LINE_BYTES, HEADER_BYTES, HEADERS = 8190, 8192, 128

log = structlog.get_logger(__name__)


# Told of what is refused unread: the address that it is from, what it is, and why.
Tell = Callable[[str, str, str], None]


class JsonProtocol(PatientProtocol):
    """A connection that answers in JSON also what is no HTTP, and so reaches no handler."""

    def __init__(self, server: web.Server, *, tell: Tell | None = None, **options: Any) -> None:
        super().__init__(server, **options)
        self._tell = tell

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose handling broke; then hang up."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request broke", status=status, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("half a reply is sent already: the connection is closed")
        if _too_much(exc):
            status, message = 431, f"at most {HEADERS} headers of {HEADER_BYTES} bytes are read"
            self._tell_refused(message)
        text = " ".join((message or HTTPStatus(status).phrase).split())
        reply = error_reply(status, text)
        reply.force_close()
        return reply

    def _tell_refused(self, why: str) -> None:
        peer = self.transport.get_extra_info("peername") if self.transport else None
        if self._tell is not None:
            self._tell(str(peer[0]) if peer else "", "a request whose headers are not read", why)

    def log_exception(self, *_: object, **__: object) -> None:
        """Log what broke a connection outside of any handler: as a rule, the client's doing."""
        log.warning("a connection broke", why=repr(sys.exception()))


def _too_much(error: BaseException | None) -> bool:
    """Return whether the headers of a request are too many, or one of them is too long."""
    if isinstance(error, LineTooLong):
        return bool(error.args[1] == HEADER_BYTES)
    return isinstance(error, BadHttpMessage) and error.message.startswith("Too many headers")
