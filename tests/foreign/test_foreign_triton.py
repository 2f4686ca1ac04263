"""Triton's clients, as they are, over TLS: what tests/http/test_oip_triton.py and test_grpc_* lack."""

import asyncio
import queue
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.grpc.aio
import tritonclient.http.aio
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.conftest import ROOT, free_port
from tritonclient.utils import InferenceServerException

from repertory.actors.local_node import LocalNode, wait_until
from repertory.certificates import CertificateSet, make_certificates

SHADES = {"red": 1.0, "white": 2.0, "rosé": 3.0}
SCORES = list(SHADES.values())
TEXTS = np.array([each.encode() for each in SHADES], np.object_)
ALGORITHMS = pytest.mark.parametrize("how", ["gzip", "deflate"])


class Server(NamedTuple):
    """Where a node answers by TLS, and who signed its certificate."""

    http: str
    grpc: str
    authority: str


def shades() -> bytes:
    """Return a model that answers a number for a text."""
    texts, numbers = zip(*SHADES.items(), strict=True)
    encode = helper.make_node(
        "LabelEncoder",
        ["shade"],
        ["value"],
        domain="ai.onnx.ml",
        keys_strings=texts,
        values_floats=numbers,
        default_float=0.0,
    )
    graph = helper.make_graph(
        [encode],
        "shades",
        [helper.make_tensor_value_info("shade", TensorProto.STRING, [None, 1])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A node that speaks TLS and nothing else, with a model that takes texts."""
    folder = tmp_path_factory.mktemp("triton")
    files = CertificateSet(folder / "certs")
    list(make_certificates(files, {"a": "127.0.0.1"}, days=9))
    tls = {"certificate": str(files.certificate("a")), "key": str(files.key("a"))}
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document["data_dir"] = str(folder / "data")
    document["http"] = {"port": free_port(), "grpc_port": free_port(), "tls": tls}
    text = {"message": "google.protobuf.wrappers_pb2:StringValue", "features": ["value"]}
    document["data_types"] = {"shade": text}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    with LocalNode(path, log=folder / "node.log") as node:
        place, port = urlsplit(node.url).netloc, node.config.http.grpc_port
        found = Server(place, f"127.0.0.1:{port}", str(files.authority))
        with http_client(found) as client:
            wait_until(lambda: _is_live(client), "it is live")
            client.load_model("shade", config="{}", files={"file:model.onnx": shades()})
        yield found
    node.wait_gone()


def _is_live(client: Any) -> bool:
    try:
        return bool(client.is_server_live())
    except OSError:
        return False


def http_client(server: Server) -> Any:
    return tritonclient.http.InferenceServerClient(
        server.http,
        ssl=True,
        ssl_options={"ca_certs": server.authority},
    )


@pytest.fixture
def http(server: Server) -> Iterator[Any]:
    with http_client(server) as client:
        yield client


@pytest.fixture
def grpc(server: Server) -> Iterator[Any]:
    options: Any = {"ssl": True, "root_certificates": server.authority}
    with tritonclient.grpc.InferenceServerClient(server.grpc, **options) as client:
        yield client


def texts(kind: Any, values: NDArray[Any] = TEXTS, **options: Any) -> list[Any]:
    tensor = kind.InferInput("value", list(values.shape), "BYTES")
    tensor.set_data_from_numpy(values, **options)
    return [tensor]


def values_of(result: Any) -> list[float]:
    found: list[float] = result.as_numpy("value").tolist()
    return found


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_texts_are_scored_over_http(http: Any, binary: bool) -> None:
    given = texts(tritonclient.http, binary_data=binary)
    assert values_of(http.infer("shade", given)) == SCORES


def test_texts_are_scored_over_grpc(grpc: Any) -> None:
    assert values_of(grpc.infer("shade", texts(tritonclient.grpc))) == SCORES


async def test_asyncio_speaks_tls_over_http(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.authority)
    kind: Any = tritonclient.http.aio
    async with kind.InferenceServerClient(server.http, ssl=True, ssl_context=context) as client:
        assert await client.is_server_ready()
        assert values_of(await client.infer("shade", texts(kind))) == SCORES


async def test_asyncio_speaks_tls_over_grpc(server: Server) -> None:
    kind: Any = tritonclient.grpc.aio
    options: Any = {"ssl": True, "root_certificates": server.authority}
    async with kind.InferenceServerClient(server.grpc, **options) as client:
        assert await client.is_server_ready()
        found = [client.infer("shade", texts(kind), request_id=str(n)) for n in range(9)]
        assert [values_of(each) for each in await asyncio.gather(*found)] == [SCORES] * 9


@ALGORITHMS
def test_both_directions_may_be_compressed_over_http(http: Any, how: str) -> None:
    more = {"request_compression_algorithm": how, "response_compression_algorithm": how}
    assert values_of(http.infer("shade", texts(tritonclient.http), **more)) == SCORES


@ALGORITHMS
def test_requests_may_be_compressed_over_grpc(grpc: Any, how: str) -> None:
    result = grpc.infer("shade", texts(tritonclient.grpc), compression_algorithm=how)
    assert values_of(result) == SCORES


MORE = {
    "request_id": "a-7",
    "priority": 2,
    "sequence_id": 5,
    "sequence_start": True,
    "sequence_end": True,
    "timeout": 20_000_000,
    "parameters": {"a text": "b", "a number": 3, "a truth": True},
}


def test_all_that_may_be_said_beside_is_taken(http: Any, grpc: Any) -> None:
    more = MORE | {"headers": {"x-of-mine": "1"}, "query_params": {"of": "mine"}}
    result = http.infer("shade", texts(tritonclient.http), **more)
    assert (result.get_response()["id"], values_of(result)) == ("a-7", SCORES)
    more = MORE | {"headers": {"x-of-mine": "1"}, "client_timeout": 20}
    result = grpc.infer("shade", texts(tritonclient.grpc), **more)
    assert (result.get_response().id, values_of(result)) == ("a-7", SCORES)


def test_a_deadline_of_the_request_and_of_the_client_are_kept_over_grpc(grpc: Any) -> None:
    for deadline in ({"timeout": 1}, {"client_timeout": 0.000_001}):
        with pytest.raises(InferenceServerException) as refused:
            grpc.infer("shade", texts(tritonclient.grpc), **deadline)
        assert refused.value.status() in (
            "StatusCode.DEADLINE_EXCEEDED",
            "StatusCode.RESOURCE_EXHAUSTED",
        )


def test_callbacks_are_called_over_grpc(grpc: Any) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def answered(result: Any, error: Any) -> None:
        answers.put((result, error))

    for name in ("shade", "beer"):
        grpc.async_infer(name, texts(tritonclient.grpc), answered)
    found = [answers.get(timeout=20) for _ in range(2)]
    (result,) = [result for result, error in found if error is None]
    (error,) = [error for _, error in found if error is not None]
    assert values_of(result) == SCORES
    assert "beer" in error.message()


def test_a_stream_is_answered_in_order_by_callbacks(grpc: Any) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    grpc.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(9):
        grpc.async_stream_infer("shade", texts(tritonclient.grpc), request_id=str(number))
    found = [answers.get(timeout=20) for _ in range(9)]
    grpc.stop_stream()
    assert [error for _, error in found] == [None] * 9
    assert [result.get_response().id for result, _ in found] == list(map(str, range(9)))
    assert all(values_of(result) == SCORES for result, _ in found)


def test_models_are_told_of_and_published_over_grpc(grpc: Any) -> None:
    assert grpc.is_server_live()
    assert grpc.is_server_ready()
    assert grpc.is_model_ready("shade")
    assert grpc.get_server_metadata(as_json=True)["name"] == "repertory"
    about = grpc.get_model_metadata("shade", as_json=True)
    assert about["inputs"] == [{"name": "value", "datatype": "BYTES", "shape": ["-1"]}]
    assert [each["name"] for each in about["outputs"]] == ["value"]
    config = grpc.get_model_config("shade", as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    grpc.load_model("shade", config="{}", files={"file:model.onnx": shades()})
    grpc.infer("shade", texts(tritonclient.grpc))
    (found,) = grpc.get_inference_statistics("shade", as_json=True)["model_stats"]
    assert int(found["inference_count"]) == len(SCORES)
    states = [each["state"] for each in grpc.get_model_repository_index(as_json=True)["models"]]
    assert (states[0], states.count("READY")) == ("READY", 1)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_shared_memory_is_refused_with_the_reason(request: Any, kind: str) -> None:
    client: Any = request.getfixturevalue(kind)
    tensor = getattr(tritonclient, kind).InferInput("value", [3], "BYTES")
    tensor.set_shared_memory("region", 9)
    with pytest.raises(InferenceServerException) as refused:
        client.infer("shade", [tensor])
    assert "shared_memory" in refused.value.message()
    asks: tuple[Callable[[], Any], ...] = (
        client.get_system_shared_memory_status,
        lambda: client.register_system_shared_memory("region", "/region", 9),
        client.get_cuda_shared_memory_status,
        client.get_trace_settings,
        client.get_log_settings,
    )
    for ask in asks:
        with pytest.raises(InferenceServerException) as refused:
            ask()
        assert refused.value.status() in ("404", "StatusCode.UNIMPLEMENTED")


def test_a_class_count_is_refused_with_the_reason(http: Any, grpc: Any) -> None:
    for client, kind in ((http, tritonclient.http), (grpc, tritonclient.grpc)):
        wanted = [kind.InferRequestedOutput("value", class_count=2)]
        with pytest.raises(InferenceServerException, match="classification, which is not served"):
            client.infer("shade", texts(kind), outputs=wanted)


def test_what_another_authority_signed_is_not_trusted(server: Server, tmp_path: Path) -> None:
    other = CertificateSet(tmp_path / "certs")
    list(make_certificates(other, {"a": "127.0.0.1"}, days=9))
    stranger = server._replace(authority=str(other.authority))
    with http_client(stranger) as client, pytest.raises(ssl.SSLCertVerificationError):
        client.is_server_live()
