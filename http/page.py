"""The page at `/`, and the files that it is made of."""

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

FOLDER = Path(__file__).with_suffix("")
INDEX = "index.html"
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

    def or_else(self, index: Handler) -> Handler:
        """Return what answers at `/`: the page for a browser, `index` for all others."""

        async def root(request: web.Request) -> web.StreamResponse:
            if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
                response: web.StreamResponse = self._reply(request, INDEX)
            else:
                response = await index(request)
            response.headers[hdrs.VARY] = hdrs.ACCEPT
            return response

        return root

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file of the page; 404 when there is none of that name."""
        return self._reply(request, request.match_info["file"])

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


def _read(path: Path) -> _File:
    content = path.read_bytes()
    content_type = mimetypes.types_map.get(path.suffix, "text/plain")
    return _File(content, content_type, hashlib.sha256(content).hexdigest()[:16])
