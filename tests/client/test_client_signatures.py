"""A model's signature goes along: the text, a file, or the one beside the model."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from repertory.client import AsyncClient, InvalidRequest
from repertory.client.signatures import signature_of

SIGNATURE = "ed25519:ab7654340d33ed52:c2lnbmVk"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that is no model, which nobody here minds."""
    path = tmp_path / "forest.onnx"
    path.write_bytes(b"forest")
    return path


def test_the_file_beside_the_model_is_its_signature(model: Path) -> None:
    assert signature_of(model, None) is None
    model.with_name("forest.onnx.sig").write_text(f"{SIGNATURE}\n")
    assert signature_of(model, None) == SIGNATURE
    assert signature_of(b"forest", None) is None


def test_what_is_given_goes_before_it(model: Path, tmp_path: Path) -> None:
    model.with_name("forest.onnx.sig").write_text("another")
    given = tmp_path / "given"
    given.write_text(f"{SIGNATURE}\n")
    assert signature_of(model, f"{SIGNATURE}\n") == SIGNATURE
    assert signature_of(b"forest", given) == signature_of(model, str(given)) == SIGNATURE


def test_a_signature_that_cannot_be_read_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        signature_of(model, tmp_path / "absent.sig")
    binary = tmp_path / "binary.sig"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="it is not text"):
        signature_of(model, binary)


async def test_it_is_sent_with_the_model(model: Path) -> None:
    forms: list[dict[str, Any]] = []

    async def publish(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        answer = {"dataType": "wine", "name": "forest", "version": 1, "state": "SERVING"}
        return web.json_response(answer, status=201)

    app = web.Application()
    app.router.add_post("/models", publish)
    async with TestServer(app) as server, AsyncClient(str(server.make_url(""))) as client:
        await client.publish("wine", model)
        await client.publish("wine", model, signature=SIGNATURE)
    assert [form.get("signature") for form in forms] == [None, SIGNATURE]
