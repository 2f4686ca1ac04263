"""`/openapi.json` and `/docs`: what the endpoints are, for programs and for people."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import orjson
from aiohttp import web

from repertory.config import ClusterConfig
from repertory.http.access import Access
from repertory.http.openapi.document import Described, make_document
from repertory.http.openapi.records import Signatures
from repertory.http.page import HEADERS, Page
from repertory.http.visitor import visitor_now

# Swagger UI, whose style sheet has its pictures inside, as data.
SWAGGER = Path(__file__).parents[1] / "swagger"
_POLICY = "Content-Security-Policy"
SWAGGER_HEADERS = {**HEADERS, _POLICY: f"{HEADERS[_POLICY]}; img-src 'self' data:"}
# Who may see which data types: as many kinds of visitors as are remembered at a time.
_KINDS = 16


class Describing:
    """Tells of all endpoints, and of the data types that who asks may be told of."""

    def __init__(self, config: ClusterConfig, access: Access, signatures: Signatures) -> None:
        self.page = Page(SWAGGER, SWAGGER_HEADERS)
        self.endpoints: Sequence[Described] = ()
        self._nodes = frozenset(config.nodes)
        self._access = access
        self._signatures = signatures
        self._document = lru_cache(_KINDS)(self._make)

    async def document(self, _: web.Request) -> web.Response:
        """Answer with the OpenAPI document."""
        visitor = visitor_now()
        known = tuple(
            name for name in self._signatures if visitor is None or visitor.grant.covers(name)
        )
        # It takes a tenth of a second, in which others are answered.
        body = await asyncio.to_thread(self._document, known, self._access.ways)
        return web.Response(body=body, content_type="application/json")

    def _make(self, data_types: tuple[str, ...], ways: tuple[str, ...]) -> bytes:
        signatures = {name: self._signatures[name] for name in data_types}
        document = make_document(self.endpoints, signatures, nodes=self._nodes, ways=ways)
        return orjson.dumps(document)
