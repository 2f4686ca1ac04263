"""The server's end of one HTTP connection."""

import sys
from http import HTTPStatus

import structlog
from aiohttp import web

from repertory.http.replies import error_reply

log = structlog.get_logger(__name__)


class JsonProtocol(web.RequestHandler):
    """A connection that answers in JSON also what is no HTTP, and so reaches no handler."""

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
        text = " ".join((message or HTTPStatus(status).phrase).split())
        reply = error_reply(status, text)
        reply.force_close()
        return reply

    def log_exception(self, *_: object, **__: object) -> None:
        """Log what broke a connection outside of any handler: as a rule, the client's doing."""
        log.warning("a connection broke", why=repr(sys.exception()))
