"""What must not get through, one by one: refused, told in the audit log, and no token in any log."""

import base64
import hashlib
import http.server
import io
import json
import struct
import tarfile
import threading
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from onnx import TensorProto, helper
from tests.http.conftest import build_model
from tests.http.guarded import Answer, Guarded
from tests.http.oidc_world import Provider

from repertory.models.signing import SigningKey, Statement

MEBIBYTE = 1024 * 1024
Refused = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A node with all guards up."""
    with Guarded(tmp_path_factory.mktemp("guarded")).running() as node:
        yield node


@pytest.fixture
def refused(node: Guarded) -> Refused:
    """Check that something was refused as it should be; what the audit log says of it."""
    node.audited()

    def check(answer: Answer, status: Any, reason: str) -> dict[str, Any]:
        assert (answer.status, reason in answer.text) == (status, True), answer[:2]
        lines = [each for each in node.audited() if reason in each.get("reason", "")]
        assert len(lines) == 1, f"{reason!r} is not in the audit log once"
        shown = {
            path
            for path, log in node.logs().items()
            for each in node.secrets
            if each.encode() in log
        }
        assert shown == set()
        return lines[0]

    return check


# --- Who


def test_no_token(node: Guarded, refused: Refused) -> None:
    line = refused(node.ask("/models", token=None), 401, "no token")
    assert (line["who"], line["from"], line["request"]) == ("anonymous", "127.0.0.1", "GET /models")


def test_a_wrong_token(node: Guarded, refused: Refused) -> None:
    answer = node.ask("/models", token=f"repertory_{'x' * 43}")
    refused(answer, 401, "unknown token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_an_expired_token(node: Guarded, refused: Refused) -> None:
    expired = node.token("admin", lasts=timedelta(seconds=-1))
    refused(node.ask("/models", token=expired), 401, "expired token")


def test_a_wrong_role(node: Guarded, refused: Refused) -> None:
    reader = node.token("read")
    for path in ("/score/wine", "/v2/models/wine/infer", "/v1/models/wine:predict"):
        refused(node.ask(path, b"{}", token=reader), 403, "this needs the role score")
    refused(node.ask("/models", b"{}", token=reader), 403, "this needs the role publish")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [({"exp": 1}, "expired token"), ({"aud": "others"}, "the token is for another audience")],
)
def test_an_expired_jwt_and_one_for_somebody_else(
    node: Guarded, refused: Refused, claims: dict[str, Any], reason: str
) -> None:
    answer = node.ask("/models", token=node.provider.token(**claims)["Authorization"][7:])
    refused(answer, 401, reason)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_jwt_that_somebody_else_signed(node: Guarded, refused: Refused) -> None:
    token = Provider(node.folder).token(roles=["boss"])["Authorization"][7:]
    refused(node.ask("/models", token=token), 401, "the token's signature is wrong")


def test_another_data_type(node: Guarded, refused: Refused) -> None:
    cider = node.token("score", "publish", data_types=("cider",))
    for path in ("/score/wine", "/models/wine/rollback", "/v2/models/wine/infer"):
        refused(node.ask(path, b"{}", token=cider), 403, "data type 'wine'")
    body = json.dumps({"dataType": "wine", "name": "m", "data": "eHh4"}).encode()
    answer = node.ask("/models", body, token=cider, Content_Type="application/json")
    refused(answer, 403, "data type 'wine'")


@pytest.mark.parametrize(
    ("header", "reason"),
    [("", "no token"), ("repertory_x", "unknown token"), ("expired", "expired token")],
)
def test_the_same_over_grpc(node: Guarded, refused: Refused, header: str, reason: str) -> None:
    if header == "expired":
        header = node.provider.token(exp=1)["Authorization"][7:]
    answer = over_grpc(node, "ServerMetadata", b"", header)
    refused(answer, grpc.StatusCode.UNAUTHENTICATED, reason)
    answer = over_grpc(node, "ModelInfer", b"", node.token("read"))
    refused(answer, grpc.StatusCode.PERMISSION_DENIED, "this needs the role score")


def over_grpc(node: Guarded, method: str, content: bytes, token: str) -> Answer:
    """Make a call; how it ends."""
    node.secrets |= {token} - {""}
    with grpc.insecure_channel(f"127.0.0.1:{node.node.config.http.grpc_port}") as channel:
        call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        try:
            call(content, metadata=[("authorization", f"Bearer {token}")] if token else None)
        except grpc.RpcError as error:
            failed: Any = error
            return Answer(failed.code(), failed.details())
    return Answer(grpc.StatusCode.OK, "")


# --- What is published


def signed(node: Guarded, content: bytes, model_type: str, **fields: str) -> Answer:
    """Publish what the right key has signed: so that nothing but its content can be wrong."""
    about = {"modelType": model_type, "signature": node.sign(content, model_type)}
    return node.publish(data=base64.b64encode(content).decode(), **about | fields)


EVIL = ["../../evil", "/tmp/evil", "..\\evil", "evil/../../evil"]


@pytest.mark.parametrize("name", EVIL)
def test_a_path_for_a_data_type(node: Guarded, refused: Refused, name: str) -> None:
    answer = signed(node, build_model(), "ONNX", dataType=name)
    assert refused(answer, 404, f"no data type {name!r}")["dataType"] == name


@pytest.mark.parametrize("name", EVIL)
def test_a_path_for_a_model_s_name(node: Guarded, refused: Refused, name: str) -> None:
    answer = signed(node, build_model(), "ONNX", name=name)
    assert refused(answer, 422, f"the name {name!r} is a path")["name"] == name


@pytest.mark.parametrize("name", EVIL)
def test_a_path_for_a_slot(node: Guarded, refused: Refused, name: str) -> None:
    policy = json.dumps({"policy": "deadline", "slots": [name, "other"]}).encode()
    line = refused(node.ask("/policies/wine", policy, method="PUT"), 400, "slots")
    assert (line["action"], line["outcome"], line["dataType"]) == ("policy", "failed", "wine")


@pytest.mark.parametrize("name", EVIL)
def test_a_path_for_the_name_of_an_uploaded_file_is_of_no_account(node: Guarded, name: str) -> None:
    content = build_model()
    fields = {"dataType": "wine", "name": "m", "signature": node.sign(content, "ONNX")}
    form = [
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    form.append(f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n')
    body = "".join(form).encode() + content + b"\r\n--x--\r\n"
    answer = node.ask("/models", body, Content_Type="multipart/form-data; boundary=x")
    assert (answer.status, list(node.folder.parent.rglob("*evil*"))) == (201, [])


def zipped(name: str, content: bytes = b"x", mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return buffer.getvalue()


def tarred(name: str, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = (tarfile.SYMTYPE if link else tarfile.REGTYPE), link
        archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped("../../evil"), "leads out of its folder"),
        (zipped("/tmp/evil"), "leads out of its folder"),
        (zipped("evil", b"/etc/passwd", 0o120777), "is a link or a device"),
        (tarred("../../evil"), "leads out of its folder"),
        (tarred("/tmp/evil"), "leads out of its folder"),
        (tarred("evil", "/etc/passwd"), "is a link or a device"),
    ],
)
def test_an_archive_that_leads_out_of_its_folder(
    node: Guarded, refused: Refused, archive: bytes, reason: str
) -> None:
    line = refused(signed(node, archive, "TENSORFLOWSAVED"), 422, reason)
    assert (line["action"], line["outcome"]) == ("publish", "rejected")


def declared_as(size: int) -> bytes:
    """Return an archive whose one file says that it has this size (APPNOTE 4.3.12)."""
    archive = bytearray(zipped("saved_model.pb", bytes(1000)))
    struct.pack_into("<I", archive, archive.index(b"PK\x01\x02") + 24, size)
    return bytes(archive)


ZEROS = bytes(6 * MEBIBYTE)


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped("saved_model.pb", ZEROS), "the archive unpacks to more than is allowed"),
        (zipped("inner.zip", zipped("saved_model.pb", bytes(ZEROS))), "saved_model.pb"),
        (declared_as(0xFFFF_FFF0), "saved_model.pb is garbage"),
    ],
    ids=["ratio", "nested", "declared"],
)
def test_a_zip_bomb(node: Guarded, refused: Refused, archive: bytes, reason: str) -> None:
    refused(signed(node, archive, "TENSORFLOWSAVED"), 422, reason)


def test_a_model_that_declares_more_than_it_holds(node: Guarded, refused: Refused) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    wanted = helper.make_tensor_value_info("quality", TensorProto.FLOAT, [None, 1])
    given = helper.make_tensor_value_info("wine", TensorProto.FLOAT, [None, 11])
    add = helper.make_node("Add", ["wine", "w"], ["quality"])
    graph = helper.make_graph([add], "g", [given], [wanted], [tensor])
    content = helper.make_model(graph, ir_version=9).SerializeToString()
    assert refused(signed(node, content, "ONNX"), 422, "")["outcome"] == "rejected"


# --- Where a location leads


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[str, list[str]]]:
    """A server that redirects to a private address, and who asked it."""
    asked: list[str] = []

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Redirect) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/model.onnx", asked
        server.shutdown()
        thread.join()


def at(node: Guarded, location: str) -> Answer:
    signature = node.sign(build_model(), "ONNX")
    return node.publish(location=location, modelType="ONNX", signature=signature)


@pytest.mark.parametrize(
    "location", ["http://10.0.0.7/m.onnx", "http://[::1]/m", "file:///etc/passwd"]
)
def test_a_location_at_a_private_address(node: Guarded, refused: Refused, location: str) -> None:
    refused(at(node, location), 422, "is a URL, and none is followed")


def test_a_location_that_redirects(
    node: Guarded, refused: Refused, trap: tuple[str, list[str]]
) -> None:
    refused(at(node, trap[0]), 422, "is a URL, and none is followed")
    assert trap[1] == []


def test_a_location_outside_the_roots_also_through_a_link(node: Guarded, refused: Refused) -> None:
    (node.folder / "m.onnx").write_bytes(build_model())
    (node.roots / "link.onnx").symlink_to(node.folder / "m.onnx")
    (node.roots / "folder").symlink_to(node.folder)
    for path in ("link.onnx", "folder/m.onnx", "../m.onnx"):
        refused(at(node, f"{node.roots}/{path}"), 422, "is not below any of models.roots")
    refused(at(node, "/etc/passwd"), 422, "is not below any of models.roots")


# --- What is too large


@pytest.mark.parametrize(
    ("path", "kind", "size", "reason"),
    [
        ("/score/wine", "application/json", 2, "the body is larger than 1 MiB"),
        ("/v2/models/wine/infer", "application/json", 2, "the body is larger than 1 MiB"),
        ("/v1/models/wine:predict", "application/json", 2, "the body is larger than 1 MiB"),
        ("/models", "multipart/form-data; boundary=x", 9, "the model is larger than 8 MiB"),
        ("/models", "application/x-protobuf", 9, "the model is larger than 8 MiB"),
        ("/models", "application/json", 13, "the model is larger than 8 MiB"),
    ],
)
def test_a_body_that_is_too_large(
    node: Guarded, refused: Refused, path: str, kind: str, size: int, reason: str
) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    body = (head if "boundary" in kind else b"") + bytes(size * MEBIBYTE)
    refused(node.ask(path, body, Content_Type=kind), 413, reason)


def test_a_message_over_grpc_that_is_too_large(node: Guarded, refused: Refused) -> None:
    answer = over_grpc(node, "ModelInfer", bytes(2 * MEBIBYTE), node.publisher)
    assert answer.status == grpc.StatusCode.RESOURCE_EXHAUSTED
    refused(answer._replace(text=TOO_LARGE), answer.status, TOO_LARGE)  # gRPC has words of its own


TOO_LARGE = "the message is larger than http.max_body_mb, or cut off"


@pytest.mark.parametrize("headers", [{"X-Long": "x" * 9000}, {f"X-{i}": "x" for i in range(200)}])
def test_headers_that_are_too_large(
    node: Guarded, refused: Refused, headers: dict[str, str]
) -> None:
    refused(node.ask("/models", **headers), 431, "at most 128 headers of 8192 bytes are read")


# --- Who signed


def test_an_unsigned_model(node: Guarded, refused: Refused) -> None:
    answer = signed(node, build_model(), "ONNX", signature="")
    line = refused(answer, 422, "the model is not signed")
    assert (line["action"], line["outcome"], line["who"][:5]) == ("publish", "rejected", "token")


@pytest.mark.parametrize("wrong", ["key", "content", "data type", "garbage"])
def test_a_wrongly_signed_model(node: Guarded, refused: Refused, wrong: str) -> None:
    content, signature = build_model(), "ed25519:garbage"
    if wrong == "key":
        other = SigningKey.make(node.folder / "other.key")
        digest = hashlib.sha256(content).hexdigest()
        signature = other.sign(Statement(digest, "ONNX", "wine"))
    elif wrong != "garbage":
        of = build_model(1.0) if wrong == "content" else content
        signature = node.sign(of, "ONNX", "cider" if wrong == "data type" else "wine")
    refused(signed(node, content, "ONNX", signature=signature), 422, "sign")


# --- What forges lines of logs

FORGED = '\n{"event": "forged", "who": "boss"}\r\x1b[2K\x1b[1A\u2028\x85forged'


@pytest.mark.parametrize(
    ("field", "status", "reason"),
    [
        ("dataType", 404, "no data type"),
        ("name", 422, "has characters that cannot be seen"),
        ("modelType", 400, "no modelType"),
        ("location", 422, "is not an absolute path"),
        ("signature", 422, "signature"),
    ],
)
def test_a_name_that_forges_a_line_of_a_log(
    node: Guarded, refused: Refused, field: str, status: int, reason: str
) -> None:
    content = build_model()
    fields = {"modelType": "ONNX", "signature": node.sign(content, "ONNX")}
    if field != "location":
        fields["data"] = base64.b64encode(content).decode()
    refused(node.publish(**fields | {field: FORGED}), status, reason)
    assert forged(node) == []


@pytest.mark.parametrize("path", ["/models/{}/versions", "/score/{}", "/{}", "/v2/models/{}/infer"])
def test_a_path_that_forges_a_line_of_a_log(node: Guarded, refused: Refused, path: str) -> None:
    text = urllib.parse.quote(FORGED, safe="")
    answer = node.ask(
        path.format(text), None if "score" not in path else b"{}", token="of-nobody-at-all"
    )
    assert "forged" in refused(answer, 401, "no JWT")["request"]
    assert forged(node) == []


def forged(node: Guarded) -> list[tuple[str, bytes]]:
    """Return the lines of logs that whoever wrote them did not begin, and raw control characters."""
    return [
        (path, line)
        for path, log in node.logs().items()
        for line in log.split(b"\n")
        if b"\x1b" in line
        or b"\r" in line
        or b"\xe2\x80\xa8" in line
        or line.startswith((b"forged", b'{"event": "forged"'))
    ]
