"""Tokens of an OpenID provider: who shows one, and what that one may do."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import jwt

from repertory.config import Oidc
from repertory.errors import ConfigError, Unavailable
from repertory.http.jwks import KeySet
from repertory.http.visitor import Grant

T = TypeVar("T")

# Checking a signature takes 0.1 ms; whoever asks again shows the same token.
MOST_REMEMBERED = 10_000
NAME_CHARACTERS = 100
ALL_DATA_TYPES = "*"
NO_TOKEN = "this is no token of `repertory token`, and no JWT"

# The first that fits: a wrong signature is also a DecodeError.
_FAULTS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired token"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidIssuerError, "the token is by another issuer"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidAlgorithmError, "the token is signed in a way that is not allowed"),
    (jwt.MissingRequiredClaimError, "the token lacks one of exp, iss, aud, sub"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.InvalidKeyError, "the token's key is not one for its algorithm"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """Who shows a token, what that one may do, and until when: seconds since the epoch."""

    name: str
    grant: Grant
    expires: float
    edition: int  # of the keys


class Issuer:
    """Tells whose a token is by the issuer's signature on it."""

    def __init__(
        self, oidc: Oidc, keys: KeySet | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self._oidc = oidc
        self._keys = keys or KeySet(oidc)
        self._now = now
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    async def check(self, token: str) -> Known | str:
        """Return whose a token is, or what is wrong with it.

        Raises Unavailable when the issuer's keys are not known.
        """
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        known = self._known.get(digest)
        if known is not None and known.edition == self._keys.edition:
            self._known.move_to_end(digest)
            return known if self._now() < known.expires else "expired token"
        found = await self._checked(token)
        if isinstance(found, Known):
            self._known[digest] = found
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def _checked(self, token: str) -> Known | str:
        try:
            kid, algorithm = _safely(lambda: self._header(token))
            key = await self._keys.find(kid, algorithm)
            if key is None:
                return "the token is signed with an unknown key"
            return _safely(lambda: self._known_by(self._claims(token, key)))
        except ConfigError as error:
            raise Unavailable(f"{error}; try again") from None
        except jwt.PyJWTError as error:
            return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), NO_TOKEN)

    def _header(self, token: str) -> tuple[str | None, str]:
        """Return the names of key and algorithm; nothing else of a header counts."""
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self._oidc.algorithms:
            raise jwt.InvalidAlgorithmError
        return header.get("kid"), algorithm

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],  # the one in the header, and allowed
            audience=self._oidc.audience,
            issuer=self._oidc.issuer,
            leeway=self._oidc.leeway_seconds,
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "enforce_minimum_key_length": True,
            },
        )

    def _known_by(self, claims: Mapping[str, Any]) -> Known:
        oidc = self._oidc
        data_types = None
        if oidc.data_types_claim is not None:
            named = frozenset(_values(claims, oidc.data_types_claim))
            data_types = None if ALL_DATA_TYPES in named else named
        roles = _values(claims, oidc.role_claim)
        granted = frozenset(oidc.roles[each] for each in roles if each in oidc.roles)
        expires = float(claims["exp"]) + oidc.leeway_seconds
        subject = "".join(each if each.isprintable() else "?" for each in claims["sub"])
        name = f"oidc {subject[:NAME_CHARACTERS]}"
        return Known(name, Grant(granted, data_types), expires, self._keys.edition)


def _safely(step: Callable[[], T]) -> T:
    """Do a step with what a stranger made up, which may be anything. Raises PyJWTError."""
    try:
        return step()
    except jwt.PyJWTError:
        raise
    except Exception as error:  # it may break a parser in any way
        raise jwt.DecodeError from error


def _values(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the values of a claim: of a list, or the words of a string, as OAuth writes scopes."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return tuple(found.split())
    if isinstance(found, list):
        return tuple(each for each in found if isinstance(each, str))
    return ()
