"""Bad input of every kind, while wines are served: each gets a clear error, and nothing else stirs."""

import io
import json
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.system.posting import request

from repertory.actors.local_node import LocalNode, wait_until
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.winerecord_pb2 import WineRecord

FEATURES = [field.name for field in WineRecord.DESCRIPTOR.fields][:11]
GOOD: dict[str, Any] = dict.fromkeys(FEATURES, 1.0)
LIMIT_MB = 64


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, wine_models: Path) -> Any:
    import yaml

    folder = tmp_path_factory.mktemp("bad-input")
    document = yaml.safe_load((wine_models.parents[2] / "cluster.yaml").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    document |= {"data_dir": str(folder), "http": {"port": port}, "models": {"max_mb": LIMIT_MB}}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(document))
    with LocalNode(folder / "cluster.yaml", log=folder / "node.log") as node:
        node.wait_until(ready=False)
        content = (wine_models / "05-mlp.onnx").read_bytes()
        status, _ = publish(node, content, ModelDescriptor.ONNX)
        assert status == 201
        yield node
    node.wait_gone()


def publish(
    node: LocalNode,
    content: bytes,
    model_type: "ModelDescriptor.ModelType",
    data_type: str = "wine",
) -> tuple[int, Any]:
    descriptor = ModelDescriptor(
        name="m", dataType=data_type, modeltype=model_type, data=content
    ).SerializeToString()
    return request(node, "/models", descriptor, "application/x-protobuf")


def score(node: LocalNode, body: Any) -> tuple[int, Any]:
    return request(node, "/score/wine", json.dumps(body).encode(), "application/json")


@pytest.fixture(autouse=True)
def undisturbed(node: LocalNode) -> Any:
    """After each test the same version serves, in the same processes, with nothing in the spool."""
    before = node.get("/state/wine"), node.get("/status")
    yield
    after = node.get("/state/wine"), node.get("/status")
    assert after[0]["version"] == before[0]["version"]
    assert after[1]["data_types"]["wine"]["pid"] == before[1]["data_types"]["wine"]["pid"]
    assert after[1]["pid"] == before[1]["pid"]
    assert score(node, GOOD)[0] == 200
    wait_until(lambda: not list(node.paths.spool.iterdir()), "the spool is empty")


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("saved_model.pb", bytes(2_000_000_000 // 4))
    return buffer.getvalue()


def onnx_of(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = ()) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 11])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        list(initializers),
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def hungry() -> bytes:
    """A graph that asks for 100 GiB."""
    shape = numpy_helper.from_array(np.array([100 * 2**28], np.int64), "shape")
    fill = helper.make_node("ConstantOfShape", ["shape"], ["big"])
    total = helper.make_node("ReduceSum", ["big"], ["sum"])
    return onnx_of(fill, total, helper.make_node("Add", ["x", "sum"], ["y"]), initializers=(shape,))


def endless() -> bytes:
    """A loop that never ends."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond_in"], ["cond_out"]),
            helper.make_node("Identity", ["v_in"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )
    true = numpy_helper.from_array(np.array(True), "true")
    loop = helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)
    return onnx_of(loop, initializers=(true,))


def external() -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[11, 1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return onnx_of(helper.make_node("MatMul", ["x", "w"], ["y"]), initializers=(tensor,))


DOCTYPE = b'<?xml version="1.0"?><!DOCTYPE PMML [%s]><PMML version="4.4">&x;</PMML>'
LAUGHS = b'<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY x "&b;&b;">'
ENTITY = b'<!ENTITY x SYSTEM "file:///etc/passwd">'
WIDE = helper.make_node("Gemm", ["x", "w"], ["y"])
WRONG_WIDTH = onnx_of(
    WIDE, initializers=(numpy_helper.from_array(np.zeros((7, 1), np.float32), "w"),)
)
T = ModelDescriptor


@pytest.mark.parametrize(
    ("content", "model_type", "says"),
    [
        pytest.param(DOCTYPE % b"", T.PMML, "DOCTYPE", id="PMML with a DOCTYPE"),
        pytest.param(DOCTYPE % ENTITY, T.PMML, "DOCTYPE", id="external entity"),
        pytest.param(DOCTYPE % LAUGHS, T.PMML, "DOCTYPE", id="billion laughs"),
        pytest.param(b"<PMML", T.PMML, "PMML", id="truncated PMML"),
        pytest.param(external(), T.ONNX, "another file", id="ONNX with external data"),
        pytest.param(endless(), T.ONNX, "end", id="endless loop"),
        pytest.param(hungry(), T.ONNX, "memory", id="100 GiB"),
        pytest.param(WRONG_WIDTH, T.ONNX, "", id="inputs that do not fit"),
        pytest.param(archive("../evil"), T.TENSORFLOWSAVED, "..", id="archive with ../"),
        pytest.param(bomb(), T.TENSORFLOWSAVED, "", id="zip bomb"),
        pytest.param(b"{}", T.PFA, "PFA", id="PFA"),
        pytest.param(b"garbage", T.ONNX, "", id="garbage"),
        pytest.param(b"", T.ONNX, "empty", id="empty"),
        pytest.param(archive("a"), T.ONNX, "looks like", id="wrong format"),
    ],
)
def test_a_bad_model_is_rejected_with_its_reason(
    node: LocalNode, content: bytes, model_type: "ModelDescriptor.ModelType", says: str
) -> None:
    status, answer = publish(node, content, model_type)
    assert (status, answer["state"]) == (422, "REJECTED"), answer
    assert says in answer["error"]


def test_a_model_of_an_unknown_data_type_is_refused_by_name(node: LocalNode) -> None:
    status, answer = publish(node, b"x", T.ONNX, data_type="beer")
    assert status == 404
    assert "beer" in answer["error"]
    assert "wine" in answer["error"]


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x0a\x7fgarbage"])
def test_a_descriptor_that_is_none_is_refused(node: LocalNode, body: bytes) -> None:
    status, answer = request(node, "/models", body, "application/x-protobuf")
    assert 400 <= status < 500
    assert answer["error"]


def test_a_descriptor_of_500_mb_is_refused_while_it_is_read(node: LocalNode) -> None:
    host, port = node.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        head = f"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: {500 * 2**20}\r\n"
        sock.sendall(f"{head}Content-Type: application/x-protobuf\r\n\r\n".encode())
        reply = send_until_answered(sock, bytes(2**20))
    assert b" 413 " in reply.split(b"\r\n")[0]


def send_until_answered(sock: socket.socket, block: bytes) -> bytes:
    sock.settimeout(30)
    try:
        for _ in range(500):
            sock.sendall(block)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sock.recv(4096)


def test_an_upload_cut_in_the_middle_leaves_nothing(node: LocalNode) -> None:
    host, port = node.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        head = "POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        sock.sendall(f"{head}Content-Type: application/x-protobuf\r\n\r\n".encode() + bytes(5000))
        wait_until(lambda: list(node.paths.spool.iterdir()), "the upload has begun")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({}, "missing"),
        ({**GOOD, "pH": None}, "pH"),
        ({**GOOD, "pH": "sour"}, "pH"),
        ({**GOOD, "pH": [3]}, "pH"),
        ({**GOOD, "dataType": "beer"}, "beer"),
        (7, "object"),
    ],
)
def test_a_bad_record_fails_alone(node: LocalNode, record: Any, says: str) -> None:
    status, answer = score(node, [GOOD, record, GOOD])
    assert status == 200
    first, bad, last = answer["results"]
    assert "label" in first
    assert first == last
    assert says in bad["error"]


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xff", b'[{"pH": NaN}]', b""])
def test_json_that_is_none_is_refused(node: LocalNode, body: bytes) -> None:
    status, answer = request(node, "/score/wine", body, "application/json")
    assert status == 400
    assert answer["error"]


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff", b"hello"])
def test_a_protobuf_record_that_is_none_fails(node: LocalNode, body: bytes) -> None:
    status, answer = request(node, "/score/wine", body, "application/x-protobuf")
    assert status == 400 or "error" in answer["results"][0]


def test_nan_in_a_protobuf_record_is_its_own_error(node: LocalNode) -> None:
    record = WineRecord(**{**GOOD, "alcohol": float("nan")}).SerializeToString()
    _, answer = request(node, "/score/wine", record, "application/x-protobuf")
    assert "alcohol" in answer["results"][0]["error"]


def test_an_unknown_data_type_is_named(node: LocalNode) -> None:
    status, answer = request(node, "/score/beer", b"{}", "application/json")
    assert status == 404
    assert "beer" in answer["error"]
