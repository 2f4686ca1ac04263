"""Turns every failure of a request into its HTTP status and a body `{"error": "…"}`."""

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

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
from repertory.http.replies import RETRY_AFTER, error_reply

STATUSES: dict[type[RequestFailed], int] = {
    InvalidRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    UnknownDataType: 404,
    NotFound: 404,
    PublishRejected: 422,
    Overloaded: 429,
    InternalError: 500,
    NoModel: 503,
    Unavailable: 503,
    DeadlineExceeded: 504,
}

# A browser asks its user for a name, whichever, and a password: the token.
_BEARER, _BASIC = 'Bearer realm="repertory"', 'Basic realm="repertory"'

log = structlog.get_logger(__name__)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler raises. A request whose client is gone is left cancelled."""
    try:
        return await handler(request)
    except RequestFailed as error:
        return failure_reply(error)
    except web.HTTPException as error:
        return _http_error(request, error)
    except (web.RequestPayloadError, HttpProcessingError) as error:
        return _broken_body(error)
    except ConnectionResetError:
        raise  # the client is gone: there is nobody to answer
    except Exception as error:  # the border of a request; the client is told
        log.exception("a request failed", method=request.method, path=request.path)
        return error_reply(500, f"a defect in Repertory: {type(error).__name__}: {error}")


def failure_reply(error: RequestFailed) -> web.Response:
    """Return the reply that says what failed."""
    headers = RETRY_AFTER if isinstance(error, Overloaded | Unavailable) else None
    if isinstance(error, Unauthenticated):
        headers = _challenge(error.fault)
    return error_reply(STATUSES.get(type(error), 500), str(error), headers=headers)


def _challenge(fault: str) -> dict[str, str]:
    """Return how to say who one is, and what is wrong with the token that was shown (RFC 6750, 3)."""
    wrong = f', error="invalid_token", error_description="{fault}"' if fault else ""
    return {"WWW-Authenticate": f"{_BEARER}{wrong}, {_BASIC}"}


def _broken_body(error: web.RequestPayloadError | HttpProcessingError) -> web.Response:
    why = error.message if isinstance(error, HttpProcessingError) else str(error)
    reply = error_reply(400, f"the body cannot be read: {why}")
    reply.force_close()  # where the next request would begin, nobody knows
    return reply


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.path} takes {allowed}, not {request.method}"
        return error_reply(405, message, headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return error_reply(404, f"there is nothing at {request.path}; GET / lists what there is")
    return error_reply(error.status, error.text or error.reason)
