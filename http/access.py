"""Who gets in: tokens and certificates, looked at before a request reaches its endpoint."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from repertory.actors.tls import certified_names
from repertory.config import ClusterConfig, NodePaths
from repertory.errors import Overloaded, Unauthenticated, Unavailable
from repertory.http.audit import Audit
from repertory.http.credentials import NO_TOKEN, Credentials, Identity
from repertory.http.limits import RateLimit
from repertory.http.proxies import HEADER, client_address
from repertory.http.visitor import ADMIN, OPEN, PUBLISH, READ, Needed, Visitor, visiting

# Of one address: enough for a person who errs, too few to fill the audit log.
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 1.0, 20
_HARMLESS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


class Access:
    """Lets requests in, or raises Unauthenticated, Forbidden or Overloaded."""

    def __init__(self, config: ClusterConfig, paths: NodePaths) -> None:
        """Read the tokens. Raises ConfigError."""
        http = config.http
        self._credentials = Credentials(config, paths)
        self.by_certificate = bool(http.tls and http.tls.clients)  # whether any gets in so
        self._trusted = http.trusted_proxies
        self._audit = Audit(paths.audit)
        self._refusals = RateLimit(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)
        self._told = RateLimit(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)
        self._limit = RateLimit(http.rate_limit, http.rate_burst) if http.rate_limit else None
        self._needed: dict[web.AbstractRoute, tuple[Needed, bool]] = {}

    @property
    def ways(self) -> tuple[str, ...]:
        """By what somebody can be let in: `token`, `certificate`; nothing where everybody is."""
        return self._credentials.ways

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
        visitor = await self.visitor(
            header,
            names=certified_names(certificate) if certificate else frozenset(),
            address=self.address(request.remote or "", request.headers.getall(HEADER, ())),
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
                elif isinstance(error, web.HTTPRequestEntityTooLarge):
                    visitor.tell_refused(error.text or error.reason)
                raise

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return where a request is from, by its connection and what trusted proxies say."""
        return client_address(peer, forwarded, self._trusted) if self._trusted else peer

    async def visitor(
        self, header: str | None, *, names: frozenset[str], address: str, what: str
    ) -> Visitor:
        """Return who shows this `Authorization`, and a certificate of these names.

        Raises Unauthenticated, and says so in the audit log; Overloaded when it is too often;
        Unavailable when an issuer's keys are needed and not known.
        """
        try:
            found = await self._credentials.identify(header, names)
        except Unavailable as error:
            self.tell_refused(address, what, str(error))
            raise
        if found.grant is None:
            raise self._refusal(found, address=address, what=what)
        key = address if found.who == "anonymous" else found.who
        if self._limit is not None and not self._limit.take(key):
            raise Overloaded(f"{found.who} sends more requests than it may (http.rate_limit)")

        async def stands() -> bool:
            return (await self._credentials.identify(header, names))[:2] == found[:2]

        return Visitor(found.who, key, address, what, found.grant, self._audit, self._told, stands)

    def tell_refused(self, address: str, what: str, why: str) -> None:
        """Say in the audit log that something was refused before it was known who sent it."""
        if self._told.take(address):
            self._note(Identity("anonymous", None, why), address=address, what=what)

    def _refusal(self, found: Identity, *, address: str, what: str) -> Exception:
        if not self._refusals.take(address):
            return Overloaded("too many requests without a valid token")
        self._note(found, address=address, what=what)
        mend = "send Authorization: Bearer TOKEN; `repertory token create` makes one"
        fault = "" if found.fault == NO_TOKEN else found.fault
        return Unauthenticated(f"{found.fault}: {mend}", fault=fault)

    def _note(self, found: Identity, *, address: str, what: str) -> None:
        self._audit.note(
            "access",
            "refused",
            who=found.who,
            **{"from": address},
            request=what,
            reason=found.fault,
        )


ACCESS = web.AppKey("access", Access)


def _by_itself(header: str | None, certificate: object) -> bool:
    """Return whether a browser sends this without being told to, whichever site asks it to."""
    return bool(certificate) or (header or "").lower().startswith("basic")


def _refuse_other_sites(request: web.Request, visitor: Visitor) -> None:
    """Refuse what a page of another site has a browser send; only browsers send `Origin`."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc != request.host:
        visitor.refuse(f"this was sent by a page of another site, {origin}")
