"""A node with `models.trusted_keys`: what nobody trusted signed is rejected, however it comes."""

import base64
import hashlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from tests.system.posting import request

from repertory.actors.local_node import LocalNode
from repertory.models.signing import SigningKey, Statement
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.private import oip_pb2 as oip

Sign = Callable[..., str]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.make(tmp_path_factory.mktemp("key") / "signing.key")


@pytest.fixture(scope="module")
def content(wine_models: Path) -> bytes:
    return (wine_models / "05-mlp.onnx").read_bytes()


@pytest.fixture(scope="module")
def sign(key: SigningKey, content: bytes) -> Sign:
    """Sign a model of wines."""

    def make(
        of: bytes = content, data_type: str = "wine", model_type: str = "ONNX", by: Any = key
    ) -> str:
        return str(by.sign(Statement(hashlib.sha256(of).hexdigest(), model_type, data_type)))

    return make


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "mlp.onnx").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory,
    wine_models: Path,
    key: SigningKey,
    content: bytes,
    roots: Path,
) -> Iterator[LocalNode]:
    """A node that took two models before it trusted anybody."""
    folder = tmp_path_factory.mktemp("signatures")
    document = yaml.safe_load((wine_models.parents[2] / "cluster.yaml").read_text())
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        port, grpc_port = (probe.getsockname()[1] for probe in (one, two))
    document |= {"data_dir": str(folder), "http": {"port": port, "grpc_port": grpc_port}}
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(document))
    with LocalNode(config, log=folder / "before.log") as before:
        before.wait_until(ready=False)
        assert publish(before, content, "")[0] == publish(before, content, "")[0] == 201
    before.wait_gone()
    document["models"] = {"trusted_keys": [key.public], "roots": [str(roots)]}
    config.write_text(yaml.safe_dump(document))
    with LocalNode(config, log=folder / "node.log") as node:
        node.wait_until(ready=True)
        yield node
    node.wait_gone()


def publish(
    node: LocalNode, content: bytes, signature: str, data_type: str = "wine"
) -> tuple[int, Any]:
    descriptor = ModelDescriptor(
        name="m",
        dataType=data_type,
        modeltype=ModelDescriptor.ONNX,
        data=content,
        signature=signature,
    ).SerializeToString()
    return request(node, "/models", descriptor, "application/x-protobuf")


def publish_json(node: LocalNode, **fields: str | None) -> tuple[int, Any]:
    body = {"dataType": "wine", "name": "m", **fields}
    return request(node, "/models", json.dumps(body).encode(), "application/json")


def newest(node: LocalNode) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/models/wine/versions")["versions"][0]
    return found


def test_what_serves_goes_on_and_unsigned_versions_are_not_rolled_back_to(node: LocalNode) -> None:
    second, first = node.get("/models/wine/versions")["versions"][-2:]
    assert (second["signedBy"], first["state"]) == (None, "RETIRED")
    body = json.dumps({"version": first["version"]}).encode()
    status, answer = request(node, "/models/wine/rollback", body, "application/json")
    assert (status, answer["state"]) == (422, "REJECTED")
    assert "not signed" in answer["reason"]
    assert node.get("/state/wine")["version"] >= second["version"]


def test_a_signed_model_serves_and_the_versions_say_who_signed(
    node: LocalNode, content: bytes, sign: Sign, key: SigningKey
) -> None:
    status, answer = publish(node, content, sign())
    assert (status, answer["state"]) == (201, "SERVING")
    assert newest(node)["signedBy"] == key.fingerprint
    assert node.get("/state/wine")["version"] == answer["version"]


def test_a_signature_may_come_in_json_or_in_a_form(
    node: LocalNode, content: bytes, sign: Sign
) -> None:
    data = base64.b64encode(content).decode()
    assert publish_json(node, data=data, signature=f"{sign()}\n")[0] == 201
    assert publish_json(node, data=data)[0] == 422
    parts = {"dataType": b"wine", "name": b"m", "signature": sign().encode(), "file": content}
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), part)
        for name, part in parts.items()
    )
    assert (
        request(node, "/models", body + b"--x--\r\n", "multipart/form-data; boundary=x")[0] == 201
    )


def test_a_signature_may_come_with_the_open_inference_protocol_s_load(
    node: LocalNode, content: bytes, sign: Sign
) -> None:
    def load(**more: object) -> tuple[int, Any]:
        parameters = {"file:model.onnx": base64.b64encode(content).decode(), **more}
        body = json.dumps({"parameters": parameters}).encode()
        return request(node, "/v2/repository/models/wine/load", body, "application/json")

    assert load(signature=sign())[0] == 200
    assert "not signed" in load()[1]["error"]
    assert "signature must be a string" in load(signature=1)[1]["error"]


def test_a_signature_may_come_with_a_load_over_grpc(
    node: LocalNode, content: bytes, sign: Sign
) -> None:
    method = "/inference.GRPCInferenceService/RepositoryModelLoad"
    asked = oip.RepositoryModelLoadRequest(model_name="wine")
    asked.parameters["file:model.onnx"].bytes_param = content
    with grpc.insecure_channel(f"127.0.0.1:{node.config.http.grpc_port}") as channel:
        load: Any = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError, match="not signed"):
            load(asked.SerializeToString(), timeout=60)
        asked.parameters["signature"].string_param = sign()
        load(asked.SerializeToString(), timeout=60)
    assert newest(node)["state"] == "SERVING"


def log_of(node: LocalNode) -> str:
    return "".join(path.read_text() for path in node.paths.logs.iterdir())


def refused(node: LocalNode, answer: tuple[int, Any], reason: str) -> None:
    """Whatever was published is rejected for a reason, before it is checked; what served serves."""
    status, body = answer
    assert (status, body["state"]) == (422, "REJECTED")
    assert reason in body["reason"]
    rejected = newest(node)
    assert (rejected["version"], rejected["state"]) == (body["version"], "REJECTED")
    assert rejected["signedBy"] is None
    assert rejected["reason"] == body["reason"]
    assert node.get("/state/wine")["version"] < body["version"]


def test_an_unsigned_model_is_rejected(node: LocalNode, content: bytes) -> None:
    refused(node, publish(node, content, ""), "not signed, and models.trusted_keys is set")


def test_a_tampered_model_is_rejected(
    node: LocalNode, wine_models: Path, sign: Sign, key: SigningKey
) -> None:
    other = (wine_models / "02-random-forest.onnx").read_bytes()
    refused(
        node, publish(node, other, sign()), f"not one of key {key.fingerprint} for this content"
    )


def test_another_s_signature_is_rejected(
    node: LocalNode, content: bytes, sign: Sign, tmp_path: Path
) -> None:
    stranger = SigningKey.make(tmp_path / "stranger.key")
    reason = f"signed by key {stranger.fingerprint}, which is not in models.trusted_keys"
    refused(node, publish(node, content, sign(by=stranger)), reason)


def test_a_signature_for_another_data_type_or_type_is_rejected(
    node: LocalNode, content: bytes, sign: Sign
) -> None:
    reason = "type ONNX and data type wine"
    refused(node, publish(node, content, sign(data_type="beer")), reason)
    refused(node, publish(node, content, sign(model_type="PMML")), reason)


def test_garbage_for_a_signature_is_rejected(node: LocalNode, content: bytes) -> None:
    refused(node, publish(node, content, "trust me"), "as repertory sign writes it")


def test_what_makes_no_sense_is_rejected_for_that(node: LocalNode) -> None:
    refused(node, publish(node, b"garbage", ""), "does not look like a model of type ONNX")


def test_a_model_at_a_location_is_signed_like_any_other(
    node: LocalNode, roots: Path, sign: Sign
) -> None:
    where = {"location": f"{roots}/mlp.onnx", "modelType": "ONNX"}
    refused(node, publish_json(node, **where), "not signed")
    assert publish_json(node, **where, signature=sign())[0] == 201


def test_what_changed_at_a_location_since_it_was_signed_does_not_come_on_stage(
    node: LocalNode, roots: Path, sign: Sign, content: bytes, wine_models: Path
) -> None:
    file = roots / "changing.onnx"
    file.write_bytes(content)
    where = {"location": str(file), "modelType": "ONNX"}
    version = publish_json(node, **where, signature=sign())[1]["version"]
    later = publish(node, content, sign())[1]["version"]
    file.write_bytes((wine_models / "02-random-forest.onnx").read_bytes())
    shutil.rmtree(node.paths.models / "wine" / str(version))  # so it is prepared once more
    body = json.dumps({"version": version}).encode()
    request(node, "/models/wine/rollback", body, "application/json")
    assert node.get("/state/wine")["version"] == later
    assert "changed since the model was published" in log_of(node)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("{0}/../secret.onnx", "not below any of models.roots"),
        ("{0}/link.onnx", "not below any of models.roots"),
        ("/proc/self/environ", "not below any of models.roots"),
        ("file://{0}/mlp.onnx", "is a URL, and none is followed"),
        ("http://127.0.0.1:{1}/models", "is a URL, and none is followed"),
    ],
)
def test_a_location_elsewhere_is_rejected_though_signed(
    node: LocalNode, roots: Path, sign: Sign, content: bytes, location: str, reason: str
) -> None:
    secret, link = roots.parent / "secret.onnx", roots / "link.onnx"
    secret.write_bytes(content)
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    where = location.format(roots, node.config.http.port)
    answer = publish_json(node, location=where, modelType="ONNX", signature=sign())
    refused(node, answer, reason)
