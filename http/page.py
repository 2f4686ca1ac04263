"""The page at `/`, and the files that it is made of."""

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from repertory.http.replies import json_reply
from repertory.http.visitor import visitor_now

FOLDER = Path(__file__).with_suffix("")
PREFIX, INDEX, ME = "/page/", "index.html", "me"
# What the page says with each of its calls, as scripts in browsers have long done.
CALLS = "X-Requested-With"
# What the page loads is its own, and nobody may show it in a frame to have its buttons pressed.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, but asked for again: the next version has other files
}


class _File(NamedTuple):
    content: bytes
    content_type: str
    etag: str


class Page:
    """Serves the files in a folder, that of the page or another, which are read once."""

    def __init__(self, folder: Path = FOLDER, headers: Mapping[str, str] = HEADERS) -> None:
        self._headers = headers
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self._files = {path.relative_to(folder).as_posix(): _read(path) for path in paths}

    @web.middleware
    async def welcome(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Show the page itself to everybody: it tells nothing of the node, and asks for a token.

        So that it can do so, no browser is told to ask for a password when its calls are refused.
        """
        if request.method in ("GET", "HEAD") and (name := self._wanted(request)) is not None:
            response: web.StreamResponse = self._reply(request, name)
            response.headers[hdrs.VARY] = hdrs.ACCEPT
            return response
        response = await handler(request)
        if response.status == 401 and CALLS in request.headers:
            challenge = response.headers.get(hdrs.WWW_AUTHENTICATE, "")
            response.headers[hdrs.WWW_AUTHENTICATE] = challenge.partition(", Basic ")[0]
        return response

    def _wanted(self, request: web.Request) -> str | None:
        """Return the file that a request is for; None when it is for something else."""
        if request.path == "/" and "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return INDEX
        name = request.path.removeprefix(PREFIX)
        return name if request.path.startswith(PREFIX) and name in self._files else None

    def or_else(self, index: Handler) -> Handler:
        """Return what answers at `/` to all but browsers, which are welcome to the page."""

        async def root(request: web.Request) -> web.StreamResponse:
            response = await index(request)
            response.headers[hdrs.VARY] = hdrs.ACCEPT
            return response

        return root

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file of the page; 404 when there is none of that name.

        `me` is who asks, and what that one may do; `dataTypes` is null for all of them.
        """
        name = request.match_info["file"]
        return _me() if name == ME else self._reply(request, name)

    async def index(self, request: web.Request) -> web.Response:
        """Answer with the page itself."""
        return self._reply(request, INDEX)

    def _reply(self, request: web.Request, name: str) -> web.Response:
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        known = {each.value for each in request.if_none_match or ()}
        response = web.Response(headers=self._headers)
        response.etag = found.etag
        if known & {found.etag, "*"}:
            response.set_status(304)
        else:
            response.body, response.content_type = found.content, found.content_type
            response.charset = "utf-8"
        return response


def _me() -> web.Response:
    visitor = visitor_now()
    assert visitor is not None
    grant = visitor.grant
    data_types = None if grant.data_types is None else sorted(grant.data_types)
    about = {"who": visitor.who, "roles": sorted(grant.roles), "dataTypes": data_types}
    return json_reply(about, headers={"Cache-Control": "no-store"})


def _read(path: Path) -> _File:
    content = path.read_bytes()
    content_type = mimetypes.types_map.get(path.suffix, "text/plain")
    return _File(content, content_type, hashlib.sha256(content).hexdigest()[:16])
