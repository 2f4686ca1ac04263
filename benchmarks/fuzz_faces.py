"""Wrong requests at the face: bytes that are nearly HTTP, bodies of every protocol, gRPC."""

import base64
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
import orjson
from benchmarks.fuzz_mutations import Mutator

from repertory.protos.private import oip_pb2 as oip
from repertory.protos.winerecord_pb2 import WineRecord

# Longer than a request may take in this node, `http.deadline_ms`, and some more for a busy machine.
ANSWER_SECONDS = 15.0
_OIP = "/inference.GRPCInferenceService/"
_DEFECTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Finding(Exception):
    """The face did what it must not do."""


def infer_document(rows: int = 2) -> dict[str, Any]:
    """Return a request of the Open Inference Protocol."""
    wines = {"name": "wines", "datatype": "FP64", "shape": [rows, 11], "data": [[1.5] * 11] * rows}
    label = {"name": "label", "parameters": {"binary_data": False}}
    return {"id": "1", "parameters": {"timeout": 10**7}, "inputs": [wines], "outputs": [label]}


class Requests:
    """Makes requests of every kind, right but for what a mutator does to them."""

    def __init__(self, wine: dict[str, float]) -> None:
        self._wine = wine
        self._kinds: Sequence[Callable[[Mutator], bytes]] = (
            self._score, self._score, self._protobuf, self._oip, self._oip, self._binary, self._binary,
            self._predict, self._predict, self._classify, self._columns, self._form, self._policy,
            self._load, self._rollback, self._get, self._chunked,
        )  # fmt: skip

    def make(self, mutator: Mutator) -> bytes:
        """Return the bytes of a request, or of some behind each other."""
        count = mutator.random.choice((1, 1, 1, 1, 2, 5))
        data = b"".join(mutator.random.choice(self._kinds)(mutator) for _ in range(count))
        return mutator.bytes(data) if mutator.random.random() < 0.3 else data

    def _score(self, mutator: Mutator) -> bytes:
        records = self._wine if mutator.random.random() < 0.5 else [self._wine] * 3
        path = mutator.random.choice(("/score/wine", "/score/wine?explain=true", "/score/none"))
        return post(path, mutator.document(records))

    def _protobuf(self, mutator: Mutator) -> bytes:
        record = WineRecord(**self._wine).SerializeToString()
        kind = "Content-Type: application/x-protobuf\r\n"
        return post("/score/wine", mutator.bytes(record), kind)

    def _oip(self, mutator: Mutator) -> bytes:
        return post("/v2/models/wine/infer", mutator.document(infer_document()))

    def _binary(self, mutator: Mutator) -> bytes:
        document = infer_document()
        rows = np.full((2, 11), 1.5).tobytes()
        tensor = document["inputs"][0]
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(rows)}
        document["parameters"] = {"binary_data_output": True}
        if mutator.random.random() < 0.3:
            texts = mutator.bytes(b"\x03\0\0\0abc\x01\0\0\0x")
            tensor |= {"datatype": mutator.random.choice(("BYTES", "BOOL", "FP16", "INT8", "BF16"))}
            tensor["parameters"], rows = {"binary_data_size": len(texts)}, texts
        half = mutator.random.random() < 0.5
        head = mutator.document(document) if half else orjson.dumps(document)
        length = len(head) if mutator.random.random() < 0.8 else mutator.random.choice((0, 1, 9**9))
        said = f"Inference-Header-Content-Length: {length}\r\n"
        return post("/v2/models/wine/infer", head + mutator.bytes(rows), said)

    def _predict(self, mutator: Mutator) -> bytes:
        instances = mutator.random.choice(([[1.5] * 11] * 2, [self._wine] * 2))
        body = {"signature_name": "serving_default", "instances": instances}
        return post("/v1/models/wine:predict", mutator.document(body))

    def _columns(self, mutator: Mutator) -> bytes:
        columns = {name: [value, value] for name, value in self._wine.items()}
        return post("/v1/models/wine:predict", mutator.document({"inputs": columns}))

    def _classify(self, mutator: Mutator) -> bytes:
        first = dict(list(self._wine.items())[:4])
        rest = {name: [value] for name, value in list(self._wine.items())[4:]}
        verb = mutator.random.choice(("classify", "regress"))
        body = mutator.document({"context": first, "examples": [rest, rest]})
        return post(f"/v1/models/wine:{verb}", body)

    def _form(self, mutator: Mutator) -> bytes:
        parts = {"dataType": b"wine", "name": b"fuzz", "modelType": b"onnx", "description": b"d"}
        parts["file"] = mutator.random.randbytes(200)
        body = b"".join(
            b'--xx\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (name.encode(), b'; filename="m"' if name == "file" else b"", value)
            for name, value in parts.items()
        )
        kind = "Content-Type: multipart/form-data; boundary=xx\r\n"
        return post("/models?wait=false", mutator.bytes(body + b"--xx--\r\n"), kind)

    def _load(self, mutator: Mutator) -> bytes:
        name = mutator.random.choice(("load", "unload", "nothing"))
        body = {"parameters": {"file:1/model.onnx": base64.b64encode(b"no model").decode()}}
        # Not of wine: an unload would be a good one.
        return post(f"/v2/repository/models/cider/{name}", mutator.document(body))

    def _policy(self, mutator: Mutator) -> bytes:
        body = {"policy": "latest", "slots": ["a", "b"], "parameters": {"deadline_ms": 5}}
        return post("/policies/cider", mutator.document(body)).replace(b"POST", b"PUT", 1)

    def _rollback(self, mutator: Mutator) -> bytes:
        path = mutator.random.choice(("/models/cider/rollback", "/policies/cider/rollback"))
        return post(path, mutator.document({"version": 1}))

    def _get(self, mutator: Mutator) -> bytes:
        paths = (
            b"/", b"/models", b"/status", b"/cluster", b"/metrics", b"/state/wine", b"/v2", b"/v2/models",
            b"/v2/models/wine", b"/v2/models/wine/config", b"/v2/models/stats", b"/v1/models/wine",
            b"/v1/models/wine/metadata", b"/models/wine/versions", b"/compare/wine", b"/policies/wine",
            b"/cluster/members/a", b"/page/x", b"/openapi.json",
        )  # fmt: skip
        path = mutator.random.choice(paths)
        if mutator.random.random() < 0.5:
            path = mutator.bytes(path)
        return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"

    def _chunked(self, mutator: Mutator) -> bytes:
        body = orjson.dumps(self._wine)
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        head = b"POST /score/wine HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + mutator.bytes(chunks)


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """Return the bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def at_http(data: bytes, port: int) -> None:
    """Send bytes, end, and take all that is answered. Raises Finding for a 500, or for silence."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as sock:
        reply = bytearray()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while piece := sock.recv(65536):
                    reply += piece
        except TimeoutError:
            raise Finding(f"no end of the reply after {ANSWER_SECONDS:g} s") from None
        except OSError as error:
            if not isinstance(error, ConnectionError):
                raise
    if b"HTTP/1.1 500 " in reply:
        place = reply.index(b"HTTP/1.1 500 ")
        raise Finding(f"a 500: {bytes(reply[place : place + 600])!r}")


class Grpc:
    """Calls with wrong messages, over one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, mutator: Mutator) -> bytes:
        """Make a call; return the message. Raises Finding when it ends with a status of defects."""
        method = mutator.random.choice(
            ("ModelInfer", "ModelInfer", "ModelInfer", "ModelStreamInfer", "ModelMetadata",
             "ModelReady", "ModelConfig", "ModelStatistics", "RepositoryIndex", "Nothing")
        )  # fmt: skip
        message = self._message(mutator)
        kind = (
            self._channel.stream_stream
            if method == "ModelStreamInfer"
            else self._channel.unary_unary
        )
        call, began = kind(_OIP + method), time.monotonic()
        try:
            if method == "ModelStreamInfer":
                for _ in call(iter([message] * 3), timeout=ANSWER_SECONDS):
                    pass
            else:
                call(message, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            if error.code() in _DEFECTS or time.monotonic() - began > ANSWER_SECONDS - 1:
                raise Finding(f"{method}: {error.code()}: {error.details()!r:.300}") from None
        return message

    def _message(self, mutator: Mutator) -> bytes:
        shape = mutator.random.choice(
            ([2, 11], [22], [-1, 11], [0, 11], [2**62, 4], [], [2, 11, 1])
        )
        wines = oip.ModelInferRequest.InferInputTensor(
            name="wines",
            datatype=mutator.random.choice(("FP64", "FP32", "INT64", "BYTES", "BF16", "")),
            shape=shape,
        )
        request = oip.ModelInferRequest(model_name="wine", id="1")
        rows = np.full(22, 1.5)
        if mutator.random.random() < 0.5:
            wines.contents.fp64_contents.extend(rows.tolist())
        else:
            request.raw_input_contents.append(mutator.bytes(rows.tobytes()))
        request.inputs.append(wines)
        if mutator.random.random() < 0.3:
            request.parameters["timeout"].int64_param = mutator.random.choice((-1, 1, 10**6, 2**62))
        data: bytes = request.SerializeToString()
        return mutator.bytes(data) if mutator.random.random() < 0.6 else data

    def bytes_(self, mutator: Mutator) -> bytes:
        """Send bytes that are nearly HTTP/2; return them."""
        frame = mutator.random.choice(
            (b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0abcdefgh", b"\0\0\4\3\0\0\0\0\1\0\0\0\0")
        )
        data = mutator.bytes(
            _PREFACE + b"\0\0\0\4\0\0\0\0\0" + frame * mutator.random.choice((1, 200))
        )
        with socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS) as sock:
            sock.settimeout(0.02)
            with contextlib.suppress(OSError):
                sock.sendall(data)
                while sock.recv(65536):
                    pass
        return data

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
