"""The forms in which servers are asked about a wine, and in which they answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from benchmarks.grpc_connection import GrpcConnection
from benchmarks.http_connection import Connection, HttpConnection, Reply, content_length
from benchmarks.wine import FEATURES, LABELS, Wine

from repertory.protos.private import oip_pb2 as oip

Answer = tuple[str, Sequence[float]]
"""A label, and the probabilities of all labels in order."""

_HEADER_LENGTH = "Inference-Header-Content-Length"
_METHOD = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to ask."""

    title: str
    connection: Callable[[Wine], Connection]
    """Makes what asks about one wine."""
    answer: Callable[[Reply], Answer]
    """Reads a reply. Raises whatever, if it is none."""
    grpc: bool = False


def _post(path: str, body: bytes, headers: str = "") -> HttpConnection:
    lines = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return HttpConnection(lines.encode() + body)


def _answer(document: Any) -> Answer:
    return document["label"], [document["probabilities"][label] for label in LABELS]


def record(path: str) -> Form:
    """Ask by an object of the features, and get one of the label and the probabilities."""
    return Form(
        f"`{path}`",
        lambda wine: _post(path, orjson.dumps(wine)),
        lambda reply: _answer(orjson.loads(reply.body)),
    )


SCORE = Form(
    "`/score`",
    lambda wine: _post("/score/wine", orjson.dumps(wine)),
    lambda reply: _answer(orjson.loads(reply.body)["results"][0]),
)

BENTO = Form(
    "`/predict`",
    lambda wine: _post("/predict", orjson.dumps({"wines": [wine]})),
    lambda reply: _answer(orjson.loads(reply.body)[0]),
)
"""A service that can batch takes a list; ours takes one without batching, too."""


def _values(wine: Wine) -> list[float]:
    return [wine[name] for name in FEATURES]


def _tensor(**more: Any) -> dict[str, Any]:
    return {"name": "wines", "datatype": "FP32", "shape": [1, len(FEATURES)], **more}


def _oip_json(wine: Wine) -> Connection:
    document = {"inputs": [_tensor(data=_values(wine))]}
    return _post("/v2/models/wine/infer", orjson.dumps(document))


def _oip_json_answer(reply: Reply) -> Answer:
    data = {each["name"]: each["data"] for each in orjson.loads(reply.body)["outputs"]}
    return data["label"][0], np.ravel(data["probabilities"]).tolist()


OIP_JSON = Form("OIP JSON", _oip_json, _oip_json_answer)


def _raw(wine: Wine) -> bytes:
    return np.array(_values(wine), "<f4").tobytes()


def _oip_binary(wine: Wine) -> Connection:
    raw = _raw(wine)
    tensor = _tensor(parameters={"binary_data_size": len(raw)})
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return _post("/v2/models/wine/infer", head + raw, f"{_HEADER_LENGTH}: {len(head)}\r\n")


def _oip_binary_answer(reply: Reply) -> Answer:
    at = content_length(reply.head, _HEADER_LENGTH.lower().encode()) or 0
    raw = {}
    for output in orjson.loads(reply.body[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        raw[output["name"]] = output["datatype"], reply.body[at : at + size]
        at += size
    return _label(raw["label"][1]), _numbers(*raw["probabilities"])


OIP_BINARY = Form("OIP binary", _oip_binary, _oip_binary_answer)


def _label(raw: bytes) -> str:
    return raw[4:].decode()  # its length is before it


def _numbers(datatype: str, raw: bytes) -> list[float]:
    return [float(each) for each in np.frombuffer(raw, "<f8" if datatype == "FP64" else "<f4")]


def _oip_grpc(wine: Wine) -> Connection:
    request = oip.ModelInferRequest(model_name="wine", raw_input_contents=[_raw(wine)])
    request.inputs.add(**_tensor())
    return GrpcConnection(_METHOD, request.SerializeToString())


def _oip_grpc_answer(reply: Reply) -> Answer:
    message = oip.ModelInferResponse.FromString(reply.body)
    outputs = {each.name: (at, each) for at, each in enumerate(message.outputs)}
    (first, label), (second, numbers) = outputs["label"], outputs["probabilities"]
    if raw := message.raw_output_contents:
        return _label(raw[first]), _numbers(numbers.datatype, raw[second])
    contents = numbers.contents
    return label.contents.bytes_contents[0].decode(), list(
        contents.fp64_contents or contents.fp32_contents
    )


OIP_GRPC = Form("OIP gRPC", _oip_grpc, _oip_grpc_answer, grpc=True)
