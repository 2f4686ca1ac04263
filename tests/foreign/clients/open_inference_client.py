"""What a user of the clients generated from the published protocol does: URL GRPC_ADDRESS."""

# mypy: ignore-errors
# Its imports are in clients/open_inference.txt.

import asyncio
import json
import sys
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from open_inference.grpc.protocol import (
    ModelInferRequest,
    ModelMetadataRequest,
    ModelReadyRequest,
    ServerLiveRequest,
    ServerMetadataRequest,
    ServerReadyRequest,
)
from open_inference.grpc.service import GRPCInferenceServiceStub
from open_inference.openapi.client import (
    AsyncOpenInferenceClient,
    InferenceRequest,
    NotFoundError,
    OpenInferenceClient,
)
from open_inference.openapi.core.api_error import ApiError

WINE = [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4]
INPUT = {"name": "wines", "shape": [2, 11], "datatype": "FP64"}


def request() -> InferenceRequest:
    data = [WINE, WINE]
    outputs = [{"name": "label"}, {"name": "probabilities"}]
    return InferenceRequest(id="42", inputs=[INPUT | {"data": data}], outputs=outputs)


def rest(url: str) -> dict[str, Any]:
    client = OpenInferenceClient(base_url=url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("wine")
    metadata = client.read_model_metadata("wine")
    version = metadata.versions[-1]
    client.check_model_version_readiness("wine", version)
    seen = {
        "server": client.read_server_metadata().dict(),
        "metadata": metadata.dict(),
        "metadata of a version": client.read_model_version_metadata("wine", version).dict(),
        "infer": client.model_infer("wine", request=request()).dict(),
        "infer by version": client.model_version_infer("wine", version, request=request()).dict(),
    }
    try:
        client.model_infer("beer", request=request())
    except ApiError as error:
        seen["refused"] = [error.status_code, error.body]
    try:
        client.check_model_readiness("beer")
    except NotFoundError as error:
        seen["not ready"] = error.body
    return seen


async def rest_by_asyncio(url: str) -> dict[str, Any]:
    client = AsyncOpenInferenceClient(base_url=url)
    await client.check_server_liveness()
    await client.check_server_readiness()
    await client.check_model_readiness("wine")
    metadata = await client.read_model_metadata("wine")
    reply = await client.model_infer("wine", request=request())
    return {"metadata": metadata.dict(), "infer": reply.dict()}


def infer_request(name: str) -> ModelInferRequest:
    contents = {"fp64_contents": WINE * 2}
    return ModelInferRequest(model_name=name, id="42", inputs=[INPUT | {"contents": contents}])


def by_grpc(address: str) -> dict[str, Any]:
    with grpc.insecure_channel(address) as channel:
        client = GRPCInferenceServiceStub(channel)
        seen = {
            "live": client.ServerLive(ServerLiveRequest()).live,
            "ready": client.ServerReady(ServerReadyRequest()).ready,
            "models": [
                client.ModelReady(ModelReadyRequest(name=each)).ready for each in ("wine", "beer")
            ],
            "server": MessageToDict(client.ServerMetadata(ServerMetadataRequest())),
            "metadata": MessageToDict(client.ModelMetadata(ModelMetadataRequest(name="wine"))),
            "infer": MessageToDict(client.ModelInfer(infer_request("wine"))),
        }
        try:
            client.ModelInfer(infer_request("beer"))
        except grpc.RpcError as error:
            seen["refused"] = error.code().name
    return seen


async def by_grpc_and_asyncio(address: str) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        client = GRPCInferenceServiceStub(channel)
        ready = await client.ServerReady(ServerReadyRequest())
        reply = await client.ModelInfer(infer_request("wine"))
        return {"ready": ready.ready, "infer": MessageToDict(reply)}


def main(url: str, address: str) -> dict[str, Any]:
    return {
        "rest": rest(url),
        "rest by asyncio": asyncio.run(rest_by_asyncio(url)),
        "grpc": by_grpc(address),
        "grpc by asyncio": asyncio.run(by_grpc_and_asyncio(address)),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
