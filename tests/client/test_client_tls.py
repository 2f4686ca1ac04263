"""How a client and a server prove to each other who they are."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from repertory.certificates import CertificateSet, make_certificates
from repertory.client import AsyncClient, Client, Unreachable


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    """Return a set with certificates of a node `a` and of a client `c`."""
    files = CertificateSet(tmp_path_factory.mktemp("certificates") / "set")
    list(make_certificates(files, {"a": "127.0.0.1", "c": "127.0.0.1"}, days=1))
    return files


@pytest.fixture
async def server(certificates: CertificateSet) -> AsyncIterator[str]:
    """Serve to those who have a certificate of the authority; the address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    context.load_cert_chain(certificates.certificate("a"), certificates.key("a"))
    context.verify_mode = ssl.CERT_REQUIRED

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    app = web.Application()
    app.router.add_get("/health/ready", ready)
    started = TestServer(app, scheme="https")
    await started.start_server(ssl=context)
    yield f"https://127.0.0.1:{started.port}"
    await started.close()


def own(files: CertificateSet) -> tuple[Path, Path]:
    return files.certificate("c"), files.key("c")


async def test_both_prove_who_they_are(server: str, certificates: CertificateSet) -> None:
    authority = certificates.authority
    async with AsyncClient(server, ca=authority, cert=own(certificates)) as client:
        assert (await client.health()).ready


async def test_a_server_of_another_authority_is_not_trusted(
    server: str, certificates: CertificateSet
) -> None:
    async with AsyncClient(server, cert=own(certificates), retries=0) as client:
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await client.health()


async def test_without_verification_anybody_is_trusted(
    server: str, certificates: CertificateSet
) -> None:
    async with AsyncClient(server, cert=own(certificates), verify=False) as client:
        assert (await client.health()).ready


async def test_a_client_without_a_certificate_is_refused(
    server: str, certificates: CertificateSet
) -> None:
    async with AsyncClient(server, ca=certificates.authority, retries=0) as client:
        with pytest.raises(Unreachable):
            await client.health()


def test_certificates_are_of_no_use_without_https(certificates: CertificateSet) -> None:
    with pytest.raises(ValueError, match="https:// addresses only"):
        Client("http://127.0.0.1", ca=certificates.authority)
