"""Who gets in: tokens and certificates, looked at before a request reaches its endpoint."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from repertory.actors.tls import certified_names
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ConfigError, Overloaded, Unauthenticated
from repertory.http.audit import Audit
from repertory.http.limits import RateLimit
from repertory.http.tokens import TokenBook, TokenFile
from repertory.http.visitor import ADMIN, ALL, OPEN, PUBLISH, READ, Grant, Needed, Visitor, visiting

# Of one address: enough for a person who errs, too few to fill the audit log.
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 1.0, 20
_HARMLESS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

log = structlog.get_logger(__name__)


class Access:
    """Lets requests in, or raises Unauthenticated, Forbidden or Overloaded.

    Everybody is let in on loopback as long as there is no file of tokens, and nobody has a role by
    certificate. What `exposure_fault` says is looked at before.
    """

    def __init__(self, config: ClusterConfig, paths: NodePaths) -> None:
        """Read the tokens. Raises ConfigError."""
        tls, http = config.http.tls, config.http
        clients = tls.clients if tls else {}
        self._certificates = {
            name: Grant(frozenset({each.role}), frozenset(each.data_types) or None)
            for name, each in clients.items()
        }
        self._tokens = TokenBook(TokenFile(paths.tokens))
        self._audit = Audit(paths.audit)
        self._refusals = RateLimit(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)
        self._told = RateLimit(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)
        self._limit = RateLimit(http.rate_limit, http.rate_burst) if http.rate_limit else None
        self._needed: dict[web.AbstractRoute, tuple[Needed, bool]] = {}

    @property
    def ways(self) -> tuple[str, ...]:
        """By what somebody can be let in: `token`, `certificate`; nothing where everybody is."""
        self._refresh()
        tokens, certificates = self._tokens.in_force, bool(self._certificates)
        return ("token",) * tokens + ("certificate",) * certificates

    def protect(self, route: web.AbstractRoute, role: Needed, *, of_all: bool) -> None:
        """Have a route need a role; with `of_all` for all data types."""
        self._needed[route] = (role, of_all)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in that may be answered."""
        route = request.match_info.route
        # Also where there is nothing, or not by this method, only those are told who may know.
        unknown = (READ, False) if request.match_info.http_exception else (ADMIN, True)
        role, of_all = self._needed.get(route, unknown)
        if role == OPEN:
            return await handler(request)
        header = request.headers.get(hdrs.AUTHORIZATION)
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        visitor = self.visitor(
            header,
            certificate=certificate,
            address=request.remote or "",
            what=f"{request.method} {request.path}",
        )
        visitor.demand(role)
        if _by_itself(header, certificate) and request.method not in _HARMLESS:
            _refuse_other_sites(request, visitor)
        data_type = request.match_info.get("dataType")
        if of_all or data_type is not None:
            visitor.demand_data_type(data_type)
        with visiting(visitor):
            try:
                return await handler(request)
            except web.HTTPException as error:  # what is too large, or too slow
                if role == PUBLISH:
                    visitor.note("change", "refused", reason=error.text or error.reason)
                raise

    def visitor(
        self,
        header: str | None,
        *,
        certificate: Mapping[str, Any] | None,
        address: str,
        what: str,
    ) -> Visitor:
        """Return who shows this `Authorization` and this certificate.

        Raises Unauthenticated, and says so in the audit log; Overloaded when it is too often.
        """
        self._refresh()
        name, why = "anonymous", ""
        grant: Grant | None = None
        if not self._tokens.in_force and not self._certificates:
            grant, key = ALL, address
        elif header is not None:
            name, grant, why = self._by_token(header)
            key = name
        else:
            names = sorted(certified_names(certificate) & set(self._certificates))
            why = "no token"
            if names:
                name, grant = f"certificate {names[0]}", self._certificates[names[0]]
            key = name
        if grant is None:
            raise self._refusal(name, why, address=address, what=what)
        if self._limit is not None and not self._limit.take(key):
            raise Overloaded(f"{name} sends more requests than it may (http.rate_limit)")
        return Visitor(name, key, address, what, grant, self._audit, self._told)

    def _refresh(self) -> None:
        try:
            self._tokens.refresh()
        except ConfigError as error:
            log.error("the tokens cannot be read; those that were known count", why=str(error))

    def _by_token(self, header: str) -> tuple[str, Grant | None, str]:
        secret = token_in(header)
        found = None if secret is None else self._tokens.find(secret)
        if secret is None:
            return "anonymous", None, "Authorization is neither Bearer nor Basic"
        if found is None:
            return "anonymous", None, "unknown token"
        name = f"token {found.id}" + (f" ({found.name})" if found.name else "")
        if found.expired:
            return name, None, "expired token"
        return name, Grant(frozenset(found.roles), frozenset(found.data_types) or None), ""

    def _refusal(self, who: str, why: str, *, address: str, what: str) -> Exception:
        if not self._refusals.take(address):
            return Overloaded("too many requests without a valid token")
        self._audit.note(
            "access", "refused", who=who, **{"from": address}, request=what, reason=why
        )
        mend = "send Authorization: Bearer TOKEN; `repertory token create` makes one"
        return Unauthenticated(f"{why}: {mend}")


def token_in(header: str) -> str | None:
    """Return the token in an `Authorization`: as such, or as a password, as browsers send it."""
    scheme, _, credentials = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(credentials, validate=True).decode()
    except ValueError:  # what it is made of, or what it stands for, is no such text
        return None
    return pair.partition(":")[2]


def _by_itself(header: str | None, certificate: object) -> bool:
    """Return whether a browser sends this without being told to, whichever site asks it to."""
    return bool(certificate) or (header or "").lower().startswith("basic")


def _refuse_other_sites(request: web.Request, visitor: Visitor) -> None:
    """Refuse what a page of another site has a browser send; only browsers send `Origin`."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc != request.host:
        visitor.refuse(f"this was sent by a page of another site, {origin}")
