"""Records with vectors are scored from one end to the other."""

import base64
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from tests.fixtures.picture import Picture

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parents[2]
WIDTH = 784


def brightest() -> bytes:
    """Return a model that answers the exposure plus the sum of the pixels, each by its place."""
    weights = np.arange(WIDTH + 1, dtype=np.float32).reshape(-1, 1)
    weights[0] = 1000
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["picture", "weights"], ["light"])],
        "light",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [None, WIDTH + 1])],
        [helper.make_tensor_value_info("light", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(node: LocalNode, path: str, body: Any, kind: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    request = urllib.request.Request(node.url + path, data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return orjson.loads(reply.read())


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """Let the processes of a node import the message, which they do not do from their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


@pytest.fixture(scope="module")
def node(importable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that serves pictures."""
    folder = tmp_path_factory.mktemp("vectors")
    picture = {
        "message": "tests.fixtures.picture:Picture",
        "features": ["exposure", f"pixels[{WIDTH}]"],
    }
    document = {
        "data_dir": str(folder / "data"),
        "http": {"port": free_port()},
        "data_types": {"picture": picture},
    }
    (folder / "cluster.yaml").write_text(yaml.safe_dump(document))
    with LocalNode(folder / "cluster.yaml", log=folder / "node.log") as node:
        node.wait_until(ready=False)
        descriptor = {"dataType": "picture", "name": "light", "modelType": "ONNX"}
        post(node, "/models", descriptor | {"data": base64.b64encode(brightest()).decode()})
        node.wait_until()
        yield node
    node.wait_gone()


def light(pixels: list[float], exposure: float) -> float:
    return float(np.dot(pixels, np.arange(1, WIDTH + 1)) + 1000 * exposure)


def test_pictures_are_scored_as_json_and_bad_ones_fail_alone(node: LocalNode) -> None:
    pixels = [float(place % 3) for place in range(WIDTH)]
    records = [
        {"pixels": pixels, "exposure": 1},
        {"pixels": pixels[1:], "exposure": 1},
        {"pixels": [*pixels[:-1], None], "exposure": 1},
        {"pixels": [*pixels[:-1], "2"], "exposure": 1},
        {"pixels": pixels[::-1], "exposure": 0},
    ]
    results = post(node, "/score/picture", records)["results"]
    assert results[0] == {"value": light(pixels, 1)}
    assert results[4] == {"value": light(pixels[::-1], 0)}
    assert [result["error"] for result in results[1:4]] == [
        "pixels has 783 values; 784 are due",
        "pixels[783] is missing",
        'pixels[783] is a string ("2"), not a number',
    ]


def test_a_picture_is_scored_as_protobuf(node: LocalNode) -> None:
    pixels = [0.5] * WIDTH
    record = Picture(pixels=pixels, exposure=2).SerializeToString()
    reply = post(node, "/score/picture", record, "application/x-protobuf")
    assert reply["results"] == [{"value": light(pixels, 2)}]
