"""Who somebody is, by what is shown: one of our tokens, one of an OpenID provider, a certificate."""

import base64
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import structlog

from repertory.config import ClusterConfig, NodePaths
from repertory.errors import ConfigError
from repertory.http.exposure import oidc_fault
from repertory.http.tokens import PREFIX, TokenBook, TokenFile
from repertory.http.visitor import ALL, Grant

if TYPE_CHECKING:
    from repertory.http.oidc import Issuer

NO_TOKEN = "no token"

log = structlog.get_logger(__name__)


class Identity(NamedTuple):
    """Who somebody is, and what that one may do; or why that is not known."""

    who: str
    grant: Grant | None
    fault: str = ""


class Credentials:
    """Tells who somebody is.

    Everybody may do all as long as there is no file of tokens, no `http.oidc`, and nobody who has
    a role by certificate. What `exposure_fault` says is looked at before.
    """

    def __init__(self, config: ClusterConfig, paths: NodePaths) -> None:
        """Read the tokens. Raises ConfigError."""
        tls = config.http.tls
        self._certificates = {
            name: Grant(frozenset({each.role}), frozenset(each.data_types) or None)
            for name, each in (tls.clients if tls else {}).items()
        }
        self._tokens = TokenBook(TokenFile(paths.tokens))
        self._issuer = _issuer(config)

    @property
    def ways(self) -> tuple[str, ...]:
        """By what somebody can be known: `token`, `certificate`; nothing where everybody may do all."""
        with _told():
            self._tokens.refresh()
        tokens = self._tokens.in_force or self._issuer is not None
        return ("token",) * tokens + ("certificate",) * bool(self._certificates)

    async def identify(self, header: str | None, names: frozenset[str]) -> Identity:
        """Return who shows this `Authorization`, and a certificate of these names.

        Raises Unavailable when an issuer's keys are needed and not known.
        """
        with _told():
            self._tokens.refresh()
        if not (self._tokens.in_force or self._certificates or self._issuer):
            return Identity("anonymous", ALL)
        if header is not None:
            return await self._by_token(header)
        known = sorted(names & set(self._certificates))
        if not known:
            return Identity("anonymous", None, NO_TOKEN)
        return Identity(f"certificate {known[0]}", self._certificates[known[0]])

    async def _by_token(self, header: str) -> Identity:
        secret = token_in(header)
        if secret is None:
            return Identity("anonymous", None, "Authorization is neither Bearer nor Basic")
        if self._issuer is not None and not secret.startswith(PREFIX):
            found = await self._issuer.check(secret)
            if isinstance(found, str):
                return Identity("anonymous", None, found)
            return Identity(found.name, found.grant)
        return self._by_own(secret)

    def _by_own(self, secret: str) -> Identity:
        found = None
        with _told():
            found = self._tokens.find(secret)
        if found is None:
            return Identity("anonymous", None, "unknown token")
        name = f"token {found.id}" + (f" ({found.name})" if found.name else "")
        if found.expired:
            return Identity(name, None, "expired token")
        return Identity(name, Grant(frozenset(found.roles), frozenset(found.data_types) or None))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say in the log what is wrong with the file of tokens; whoever asks learns nothing of it."""
    try:
        yield
    except ConfigError as error:
        log.error("the tokens cannot be read; those that were known count", why=str(error))


def _issuer(config: ClusterConfig) -> "Issuer | None":
    oidc = config.http.oidc
    if oidc is None:
        return None
    if fault := oidc_fault(oidc):
        raise ConfigError(fault)
    from repertory.http.oidc import Issuer  # an extra

    return Issuer(oidc)


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
