"""The keys of an OpenID provider: had from where the configuration says, kept, and had again."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
from jwt import PyJWK, PyJWTError

from repertory.config import Oidc
from repertory.errors import ConfigError

# A key that the issuer takes back still counts for so long.
KEEP_SECONDS = 300.0
# Whoever makes up names of keys has the issuer asked so often, and no more.
AGAIN_SECONDS = 10.0
FETCH_SECONDS = 5.0
# Of a set of keys, or of what says where it is: those of large providers have 10 KiB.
MOST_BYTES = 512 * 1024
DISCOVERY = "/.well-known/openid-configuration"

log = structlog.get_logger(__name__)


class KeySet:
    """The public keys of one issuer. Nothing but the configuration says where they are."""

    def __init__(self, oidc: Oidc, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._oidc = oidc
        self._clock = clock
        self._raw: tuple[Mapping[str, Any], ...] = ()
        self._keys: dict[str | None, dict[str, list[PyJWK]]] = {}
        self._asked: float | None = None  # when that was last
        self._fetching: asyncio.Task[None] | None = None
        self.edition = 0  # another one: what was found by the keys before may not hold any more

    async def load(self) -> int:
        """Have the keys, and return how many there are. Raises ConfigError."""
        self._asked = self._clock()
        keys = await _keys_of(self._oidc)
        if keys != self._raw:
            self._raw = keys
            self._keys, self.edition = _by_name(keys, self._oidc.algorithms), self.edition + 1
        return len(keys)

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """Return the key of this name for an algorithm; the only one there is if there is no name.

        An unknown name has the issuer asked again, unless it was just asked. Raises ConfigError
        when no keys are known at all.
        """
        if self._old(KEEP_SECONDS):
            fetching = self._fetch()
            if not self._keys:
                await asyncio.shield(fetching)  # who leaves does not take them from the others
        found = self._known(kid, algorithm)
        if found is None and (again := self._again()) is not None:
            await asyncio.shield(again)
            found = self._known(kid, algorithm)
        if not self._keys:
            raise ConfigError("the keys of http.oidc.issuer are not known")
        return found

    def _known(self, kid: str | None, algorithm: str) -> PyJWK | None:
        if kid is not None:
            found = self._keys.get(kid, {}).get(algorithm, [])
        else:
            found = [each for named in self._keys.values() for each in named.get(algorithm, [])]
        return found[0] if len(found) == 1 else None

    def _old(self, seconds: float) -> bool:
        return self._asked is None or self._clock() - self._asked >= seconds

    def _again(self) -> "asyncio.Task[None] | None":
        return self._fetch() if self._old(AGAIN_SECONDS) else self._fetching

    def _fetch(self) -> "asyncio.Task[None]":
        """Have the keys, once for all who need them."""
        if self._fetching is None:
            self._asked = self._clock()
            self._fetching = asyncio.create_task(self._load())
        return self._fetching

    async def _load(self) -> None:
        try:
            count = await self.load()
            log.info("the issuer's keys are known", issuer=self._oidc.issuer, keys=count)
        except ConfigError as error:
            log.error(
                "the issuer's keys cannot be had; those that were known count", why=str(error)
            )
        finally:
            self._fetching = None


async def _keys_of(oidc: Oidc) -> tuple[Mapping[str, Any], ...]:
    """Return an issuer's keys, as they are. Raises ConfigError, naming where they are from."""
    if oidc.jwks is not None and "://" not in oidc.jwks:
        return _read(oidc.jwks)
    url = oidc.jwks or await _discovered(oidc.issuer)
    return _keys_in(await _fetched(url), url)


def _read(path: str) -> tuple[Mapping[str, Any], ...]:
    """Return the keys of a file, which is small, and local."""
    try:
        return _keys_in(orjson.loads(Path(path).read_bytes()), path)
    except OSError as error:
        raise ConfigError(f"http.oidc.jwks: {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"http.oidc.jwks: {path} is not JSON: {error}") from None


async def _discovered(issuer: str) -> str:
    """Return where an issuer says that its keys are (OpenID Connect Discovery 1.0, 4)."""
    url = issuer.rstrip("/") + DISCOVERY
    document = await _fetched(url)
    if document.get("issuer") != issuer:
        raise ConfigError(f"{url} is of another issuer, {document.get('issuer')!r:.200}")
    found = document.get("jwks_uri")
    if not isinstance(found, str) or not found.startswith("https://"):
        raise ConfigError(f"{url}: jwks_uri is no https URL, but {found!r:.200}")
    return found


async def _fetched(url: str) -> dict[str, Any]:
    """Return the JSON object at an https URL. Nothing is redirected. Raises ConfigError."""
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    # Made now: it knows the authorities of the host, or those that SSL_CERT_FILE names.
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True) as session,
            session.get(url, allow_redirects=False) as reply,
        ):
            if reply.status != 200:
                raise ConfigError(f"{url} answers with status {reply.status}")
            document = orjson.loads(await _body(reply.content, url))
    except TimeoutError:
        raise ConfigError(f"{url} does not answer within {FETCH_SECONDS:g} s") from None
    except aiohttp.ClientError as error:
        raise ConfigError(f"{url}: {error}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{url} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{url} is no JSON object")
    return document


async def _body(content: aiohttp.StreamReader, url: str) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ConfigError(f"{url} has more than {MOST_BYTES // 1024} KiB")
    return bytes(body)


def _keys_in(document: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Return the keys of a JWK set (RFC 7517) that can be verified with. Raises ConfigError."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ConfigError(f"{where} is no set of keys: it has no list `keys`")
    found = tuple(
        each
        for each in keys
        if isinstance(each, dict)
        and each.get("kty") != "oct"
        and each.get("use") in (None, "sig")
        and isinstance(each.get("kid"), str | None)
    )
    if any("d" in each for each in found):
        raise ConfigError(f"{where} has a private key: whoever reads it signs tokens")
    if not found:
        raise ConfigError(f"{where} has no public key that signs")
    return found


def _by_name(
    keys: Iterable[Mapping[str, Any]], algorithms: Iterable[str]
) -> dict[str | None, dict[str, list[PyJWK]]]:
    """Return keys by their name, and by the algorithms that they are for."""
    found: dict[str | None, dict[str, list[PyJWK]]] = {}
    for each in keys:
        for algorithm in algorithms:
            if each.get("alg") in (None, algorithm) and (key := _key(each, algorithm)) is not None:
                named = found.setdefault(each.get("kid"), {})
                named.setdefault(algorithm, []).append(key)
    return found


def _key(jwk: Mapping[str, Any], algorithm: str) -> PyJWK | None:
    """Return a key for an algorithm; None when it is not one for it, or is too short."""
    try:
        key = PyJWK(dict(jwk), algorithm)
        too_short = key.Algorithm.check_key_length(key.Algorithm.prepare_key(key.key))
    except PyJWTError:
        return None
    if too_short:
        log.warning("a key of the issuer does not count", kid=jwk.get("kid"), why=too_short)
        return None
    return key
