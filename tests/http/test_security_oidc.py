"""Tokens of an OpenID provider: whom they let in, and all that is refused."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.http.oidc_world import AUDIENCE, ROLES, Provider, unsigned
from tests.http.security_world import World

from repertory.config import Oidc, parse_config
from repertory.errors import ConfigError
from repertory.http.jwks import AGAIN_SECONDS, KEEP_SECONDS, KeySet

Make = Callable[..., World]


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """An OpenID provider."""
    return Provider(tmp_path)


@pytest.fixture
async def make(tmp_path: Path, provider: Provider) -> AsyncIterator[Make]:
    """Make worlds that trust the provider; they are closed with the test."""
    made: list[World] = []

    def world(**oidc: Any) -> World:
        made.append(World(tmp_path, oidc=provider.config(**oidc)))
        return made[-1]

    yield world
    for each in made:
        await each.close()


@pytest.fixture
async def served(provider: Provider, monkeypatch: Any) -> AsyncIterator[Provider]:
    """The provider, with its keys at an https URL."""
    server = await provider.serve()
    monkeypatch.setenv("SSL_CERT_FILE", str(provider.authority))
    yield provider
    await server.close()


async def refused(world: World, token: Any) -> str:
    """Have a token refused, with all that belongs to that; the reason."""
    header = token if isinstance(token, dict) else {"Authorization": f"Bearer {token}"}
    reply = await world.ask("GET", "/models", header)
    reason = world.audit()[-1]["reason"]
    assert reply.status == 401
    assert (
        f'error="invalid_token", error_description="{reason}"' in reply.headers["WWW-Authenticate"]
    )
    assert (await reply.json())["error"].startswith(reason)
    assert header["Authorization"].split()[-1] not in world.paths.audit.read_text()
    return str(reason)


async def test_a_token_of_the_issuer_lets_in_and_its_subject_is_in_the_audit_log(
    make: Make, provider: Provider
) -> None:
    world, token = make(), provider.token()
    assert (await world.ask("GET", "/models")).status == 401
    assert (await world.ask("DELETE", "/models/wine", token)).status == 200
    assert (await world.ask("POST", "/score/wine", token)).status == 403
    done = world.audit()[1]
    assert (done["who"], done["action"], done["outcome"]) == ("oidc anna", "retire", "retired")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "expired token"),
        ({"nbf": int(time.time()) + 600}, "the token is not valid yet"),
        ({"iss": "https://login.example/"}, "the token is by another issuer"),
        ({"aud": ["other"]}, "the token is for another audience"),
        ({"aud": None}, "the token lacks one of exp, iss, aud, sub"),
        ({"exp": None}, "the token lacks one of exp, iss, aud, sub"),
        ({"sub": None}, "the token lacks one of exp, iss, aud, sub"),
        ({"sub": 7}, "this is no token of `repertory token`, and no JWT"),
        ({"exp": "soon"}, "this is no token of `repertory token`, and no JWT"),
        ({"exp": float("inf")}, "this is no token of `repertory token`, and no JWT"),
    ],
)
async def test_a_token_whose_claims_do_not_hold_is_a_401(
    make: Make, provider: Provider, claims: dict[str, Any], reason: str
) -> None:
    assert await refused(make(), provider.token(**claims)) == reason


async def test_an_algorithm_that_needs_no_private_key_is_a_401(
    make: Make, provider: Provider
) -> None:
    world, claims = make(), provider.claims()
    not_allowed = "the token is signed in a way that is not allowed"
    assert await refused(world, unsigned({"alg": "none", "kid": "one"}, claims)) == not_allowed
    header = {"alg": "HS256", "kid": "one"}
    signed = unsigned(header, claims).rpartition(".")[0]
    mac = hmac.digest(provider.public_pem(), signed.encode(), hashlib.sha256)
    assert await refused(world, unsigned(header, claims, mac)) == not_allowed
    assert await refused(world, unsigned({"alg": ["RS256"]}, claims)) == not_allowed


async def test_a_token_by_another_key_is_a_401(make: Make, provider: Provider) -> None:
    world, other = make(), Provider(provider.folder)
    assert await refused(world, other.token()) == "the token's signature is wrong"
    other.add_key("two")
    assert await refused(world, other.token("two")) == "the token is signed with an unknown key"
    forged = provider.token()["Authorization"].split()[1].split(".")
    claims = unsigned({}, provider.claims(roles=["boss"])).split(".")[1]
    assert await refused(world, f"{forged[0]}.{claims}.{forged[2]}") == (
        "the token's signature is wrong"
    )


@pytest.mark.parametrize("named", ["jku", "x5u", "jwk"])
async def test_where_a_token_says_that_its_key_is_nobody_looks(
    make: Make, served: Provider, named: str
) -> None:
    world, other = make(), Provider(served.folder)
    other.add_key("two")
    place = other.jwks()["keys"][1] if named == "jwk" else f"{served.issuer}/elsewhere"
    token = other.token("two", header={named: place}, iss=served.issuer)
    assert await refused(world, token) == "the token is signed with an unknown key"
    assert served.asked == []


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "..",
        "é.é.é",
        "eyJhbGciOiJSUzI1NiJ9..",
        unsigned({"alg": "RS256", "kid": 7}, {}),
        unsigned({"alg": "RS256", "crit": ["exp"], "exp": 1}, {}),
        "W" * 6000 + ".W.W",
        "repertory_nobody-made-this",
    ],
)
async def test_garbage_is_a_401(make: Make, provider: Provider, token: str) -> None:
    assert await refused(make(), token)


async def test_our_own_tokens_count_beside_those_of_the_issuer(
    make: Make, provider: Provider
) -> None:
    world = make()
    own = world.token("read")
    assert (await world.ask("GET", "/models", own)).status == 200
    assert (await world.ask("GET", "/models", provider.token())).status == 200
    assert (await world.ask("GET", "/models")).status == 401


@pytest.mark.parametrize(
    ("claim", "claims", "status"),
    [
        ("roles", {"roles": "people apps"}, 200),
        ("roles", {"roles": ["strangers", 7, None]}, 403),
        ("roles", {"roles": {"people": True}}, 403),
        ("roles", {"roles": ["read"]}, 403),
        ("realm_access.roles", {"realm_access": {"roles": ["people"]}}, 200),
        ("https://example.com/roles", {"https://example.com/roles": ["people"]}, 200),
        ("realm_access.roles", {"realm_access": "people"}, 403),
    ],
)
async def test_roles_are_those_that_the_configuration_gives_to_a_claim(
    make: Make, provider: Provider, claim: str, claims: dict[str, Any], status: int
) -> None:
    token = provider.token(**{"roles": None} | claims)
    assert (await make(role_claim=claim).ask("GET", "/models", token)).status == status


@pytest.mark.parametrize(
    ("claims", "statuses"),
    [
        ({"types": ["wine"]}, (200, 403)),
        ({"types": "*"}, (200, 200)),
        ({}, (403, 403)),
    ],
)
async def test_data_types_are_those_of_a_claim(
    make: Make, provider: Provider, claims: dict[str, Any], statuses: tuple[int, int]
) -> None:
    world, token = make(data_types_claim="types"), provider.token(**claims)
    replies = [await world.ask("GET", f"/v2/models/{each}", token) for each in ("wine", "cider")]
    assert tuple(each.status for each in replies) == statuses


async def test_a_token_that_was_good_is_refused_once_it_has_expired(provider: Provider) -> None:
    from repertory.http.oidc import Issuer

    now = time.time()
    issuer = Issuer(Oidc(**provider.config(leeway_seconds=0)), now=lambda: now)
    token = provider.token(exp=int(now) + 100)["Authorization"].split()[1]
    assert not isinstance(await issuer.check(token), str)
    now += 101
    assert await issuer.check(token) == "expired token"


async def test_keys_are_had_over_tls_from_where_the_issuer_says(
    make: Make, served: Provider
) -> None:
    world = make(jwks=None)
    for _ in range(3):
        assert (await world.ask("GET", "/models", served.token())).status == 200
    assert served.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_an_unknown_key_has_the_issuer_asked_again_but_not_for_each_token(
    served: Provider,
) -> None:
    now = 0.0
    oidc = Oidc(**served.config(jwks=f"{served.issuer}/keys"))
    keys = KeySet(oidc, clock=lambda: now)
    assert await keys.find("one", "RS256")
    served.add_key("two")
    assert await keys.find("two", "ES256") is None
    now += AGAIN_SECONDS
    assert await keys.find("two", "ES256")
    for _ in range(9):
        assert await keys.find("made up", "ES256") is None
    assert len(served.asked) == 2


async def test_a_key_that_the_issuer_took_back_counts_no_more(served: Provider) -> None:
    now = 0.0
    keys = KeySet(Oidc(**served.config(jwks=f"{served.issuer}/keys")), clock=lambda: now)
    served.add_key("two")
    assert await keys.find("one", "RS256")
    served.remove_key("one")
    now += KEEP_SECONDS
    await keys.find("two", "ES256")
    await keys.load()
    assert await keys.find("one", "RS256") is None


async def test_while_the_issuer_is_away_known_keys_count_and_else_it_is_a_503(
    make: Make, served: Provider
) -> None:
    served.broken = True
    world, now = make(jwks=f"{served.issuer}/keys"), 0.0
    assert (await world.ask("GET", "/models", served.token())).status == 503
    assert world.audit()[-1]["reason"].startswith("the keys of http.oidc.issuer are not known")
    served.broken = False
    keys = KeySet(Oidc(**served.config(jwks=f"{served.issuer}/keys")), clock=lambda: now)
    await keys.load()
    served.broken, now = True, KEEP_SECONDS
    assert await keys.find("one", "RS256")


@pytest.mark.parametrize(
    ("where", "fault"),
    [("/moved", "answers with status 302"), (":1/keys", "Cannot connect"), ("", "no list `keys`")],
)
async def test_what_is_wrong_with_the_issuer_s_answer_is_told(
    served: Provider, where: str, fault: str
) -> None:
    if not where:
        where = "/.well-known/openid-configuration"
    base = "https://127.0.0.1" if where.startswith(":") else served.issuer
    with pytest.raises(ConfigError, match=fault):
        await KeySet(Oidc(**served.config(jwks=base + where))).load()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "is not JSON"),
        ("[]", "is no set of keys"),
        ('{"keys": [{"kty": "oct", "k": "eHh4"}]}', "has no public key"),
        ('{"keys": [{"kty": "RSA", "n": "x", "e": "x", "d": "x"}]}', "has a private key"),
    ],
)
async def test_what_is_wrong_with_a_file_of_keys_is_told(
    provider: Provider, content: str, fault: str
) -> None:
    oidc = Oidc(**provider.config())
    (provider.folder / "jwks.json").write_text(content)
    with pytest.raises(ConfigError, match=fault):
        await KeySet(oidc).load()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"jwks": "http://login.example/keys"}, "jwks must begin with https://"),
        ({"jwks": None, "issuer": "login"}, "issuer, which is to say where the keys are"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"roles": {}}, "roles"),
        ({"roles": {"boss": "root"}}, "roles"),
    ],
)
def test_a_configuration_that_would_let_in_the_wrong_ones_is_refused(
    change: dict[str, Any], fault: str
) -> None:
    oidc = {"issuer": "https://a", "audience": AUDIENCE, "roles": ROLES} | change
    with pytest.raises(ConfigError, match=fault):
        parse_config({"data_types": {}, "http": {"oidc": oidc}})


def test_without_pyjwt_the_extra_is_named(provider: Provider, monkeypatch: Any) -> None:
    world = World(provider.folder, oidc=provider.config())
    monkeypatch.setattr("repertory.http.exposure.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'repertory\[oidc\]'"):
        world.app()
