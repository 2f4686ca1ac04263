"""TLS, certificates of clients, headers beyond the limits, and gRPC: over real connections."""

import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from tests.http.security_world import World

from repertory.certificates import CertificateSet, make_certificates
from repertory.errors import ConfigError
from repertory.http.face_tls import server_context
from repertory.http.listening import Listener
from repertory.protos.private import oip_pb2 as oip

Listen = Callable[[World], Awaitable[str]]
NAMES = {"a": "127.0.0.1", "line-7": "127.0.0.1", "guest": "127.0.0.1"}


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Listen as a face does, for a world; where that is."""
    opened: list[tuple[Listener, web.AppRunner]] = []

    async def listening(world: World) -> str:
        runner = web.AppRunner(world.app())
        await runner.setup()
        http = world.config.http.model_copy(update={"port": 0})
        tls = server_context(http.tls, "a") if http.tls else None
        opened.append((await Listener.open(runner, http, tls=tls), runner))
        return opened[-1][0].url

    yield listening
    for listener, runner in opened:
        await listener.close()
        await runner.cleanup()


def certified_world(folder: Path, **clients: Any) -> World:
    files = CertificateSet(folder / "certs")
    list(make_certificates(files, NAMES, days=9))
    tls = {"certificate": str(files.certificate("{node}")), "key": str(files.key("{node}"))}
    return World(folder, tls=tls | clients)


def context_of(folder: Path, client: str | None = None, authority: Path | None = None) -> Any:
    files = CertificateSet(folder / "certs")
    context = ssl.create_default_context(cafile=str(authority or files.authority))
    if client is not None:
        context.load_cert_chain(files.certificate(client), files.key(client))
    return context


async def status_of(url: str, method: str = "GET", **options: Any) -> int:
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as reply:
        await reply.read()
        return reply.status


async def test_with_tls_only_tls_is_spoken(tmp_path: Path, listen: Listen) -> None:
    url = await listen(certified_world(tmp_path))
    assert url.startswith("https://")
    assert await status_of(f"{url}/models", ssl=context_of(tmp_path)) == 200
    with pytest.raises(aiohttp.ClientError):
        await status_of(f"{url}/models".replace("https", "http"))
    old = context_of(tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(aiohttp.ClientError):
        await status_of(f"{url}/models", ssl=old)


async def test_a_client_does_what_its_certificate_may(tmp_path: Path, listen: Listen) -> None:
    authority = str(CertificateSet(tmp_path / "certs").authority)
    clients = {"line-7": {"role": "publish", "data_types": ["wine"]}}
    world = certified_world(tmp_path, client_ca=authority, clients=clients)
    url, line = await listen(world), context_of(tmp_path, "line-7")
    assert await status_of(f"{url}/models/wine", "DELETE", ssl=line) == 200
    assert await status_of(f"{url}/models/cider", "DELETE", ssl=line) == 403
    assert await status_of(f"{url}/score/wine", "POST", ssl=line) == 403
    done, *refused = world.audit()
    assert (done["who"], done["action"], done["outcome"]) == (
        "certificate line-7",
        "retire",
        "retired",
    )
    assert [each["outcome"] for each in refused] == ["refused"] * 2


async def test_others_get_in_by_a_token_alone(tmp_path: Path, listen: Listen) -> None:
    authority = str(CertificateSet(tmp_path / "certs").authority)
    clients = {"line-7": {"role": "read"}}
    world = certified_world(tmp_path, client_ca=authority, clients=clients)
    token, url = world.token("read"), await listen(world)
    for context in (context_of(tmp_path), context_of(tmp_path, "guest")):
        assert await status_of(f"{url}/models", ssl=context) == 401
        assert await status_of(f"{url}/models", ssl=context, headers=token) == 200
        assert await status_of(f"{url}/health/live", ssl=context) == 200


async def test_a_certificate_by_another_authority_is_refused(
    tmp_path: Path, listen: Listen
) -> None:
    authority = CertificateSet(tmp_path / "certs").authority
    clients = {"line-7": {"role": "admin"}}
    world = certified_world(tmp_path, client_ca=str(authority), clients=clients)
    list(make_certificates(CertificateSet(tmp_path / "x" / "certs"), NAMES, days=9))
    url = await listen(world)
    with pytest.raises(aiohttp.ClientError):
        await status_of(f"{url}/models", ssl=context_of(tmp_path / "x", "line-7", authority))


@pytest.mark.parametrize("key", ["certificate", "key", "client_ca"])
def test_files_that_are_not_there_are_named(tmp_path: Path, key: str) -> None:
    world = certified_world(tmp_path)
    assert world.config.http.tls is not None
    tls = world.config.http.tls.model_copy(update={key: tmp_path / "none.pem"})
    with pytest.raises(ConfigError, match=rf"http\.tls\.{key}.*none\.pem"):
        server_context(tls, "a")


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {'x' * 9000}"}, {f"X-{each}": "x" for each in range(200)}],
    ids=["long", "many"],
)
async def test_headers_beyond_the_limits_are_a_431(
    tmp_path: Path, listen: Listen, headers: dict[str, str]
) -> None:
    world = World(tmp_path)
    world.token("read")
    assert await status_of(f"{await listen(world)}/models", headers=headers) == 431
    (line,) = world.audit()
    assert (line["outcome"], line["from"]) == ("refused", "127.0.0.1")
    assert line["reason"] == "at most 128 headers of 8192 bytes are read"


async def test_a_body_of_a_stranger_is_not_read(tmp_path: Path, listen: Listen) -> None:
    world = World(tmp_path, max_body_mb=1)
    admin, url = world.token("admin"), await listen(world)
    for headers, status in (({}, 401), (admin, 413)):
        body = io.BytesIO(b" " * 2_000_000)
        assert await status_of(f"{url}/score/wine", "POST", data=body, headers=headers) == status
    assert [each["reason"][:8] for each in world.audit()] == ["no token", "the body"]


async def test_over_grpc_the_same_get_in(tmp_path: Path) -> None:
    world = certified_world(tmp_path)
    header = world.token("read", data_types=("wine",))["Authorization"]
    async with channel_to(await world.grpc(), tmp_path) as channel:
        assert await _code(channel, "ServerLive") == grpc.StatusCode.OK
        assert await _code(channel, "ServerMetadata") == grpc.StatusCode.UNAUTHENTICATED
        assert await _code(channel, "ServerMetadata", header) == grpc.StatusCode.OK
        assert await _code(channel, "ModelInfer", header) == grpc.StatusCode.PERMISSION_DENIED
        assert await _code(channel, "RepositoryIndex", header) == grpc.StatusCode.PERMISSION_DENIED
        cider = oip.ModelMetadataRequest(name="cider").SerializeToString()
        found = await _code(channel, "ModelMetadata", header, cider)
        assert found == grpc.StatusCode.PERMISSION_DENIED
    await world.close()
    assert [each["outcome"] for each in world.audit()] == ["refused"] * 4


async def test_over_grpc_a_client_does_what_its_certificate_may_where_all_have_to_show_one(
    tmp_path: Path,
) -> None:
    files, clients = CertificateSet(tmp_path / "certs"), {"line-7": {"role": "score"}}
    about = {"client_ca": str(files.authority), "clients": clients, "grpc_clients": True}
    world = certified_world(tmp_path, **about)
    header, address = world.token("read")["Authorization"], await world.grpc()
    async with channel_to(address, tmp_path, "line-7") as channel:
        assert await _code(channel, "ServerMetadata") == grpc.StatusCode.OK
        unload = await _code(channel, "RepositoryModelUnload")
        assert unload == grpc.StatusCode.PERMISSION_DENIED
    async with channel_to(address, tmp_path, "guest") as channel:
        assert await _code(channel, "ServerMetadata") == grpc.StatusCode.UNAUTHENTICATED
        assert await _code(channel, "ServerMetadata", header) == grpc.StatusCode.OK
    async with channel_to(address, tmp_path) as channel:
        assert await _code(channel, "ServerLive", header) == grpc.StatusCode.UNAVAILABLE
    await world.close()
    assert [each["who"] for each in world.audit()] == ["certificate line-7", "anonymous"]


def channel_to(address: str, folder: Path, client: str | None = None) -> grpc.aio.Channel:
    files = CertificateSet(folder / "certs")
    shown: tuple[bytes | None, bytes | None] = (None, None)
    if client is not None:
        shown = (files.key(client).read_bytes(), files.certificate(client).read_bytes())
    credentials = grpc.ssl_channel_credentials(files.authority.read_bytes(), *shown)
    return grpc.aio.secure_channel(address, credentials)


async def _code(channel: Any, method: str, header: str = "", content: bytes = b"") -> Any:
    call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    metadata = (("authorization", header),) if header else ()
    try:
        await call(content, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
