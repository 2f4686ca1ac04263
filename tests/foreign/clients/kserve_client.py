"""What a user of KServe's inference clients does: `kserve_client.py URL GRPC_ADDRESS`."""

# mypy: ignore-errors
# Its imports are in clients/kserve.txt.

import asyncio
import json
import logging
import sys
from typing import Any

import httpx
import numpy as np
from grpc.aio import AioRpcError
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    InferResponse,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput

WINES = np.array(
    [
        [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4],
        [10.3, 0.32, 0.45, 6.4, 0.073, 5, 13, 0.9976, 3.23, 0.82, 12.6],
    ],
    np.float32,
)


def request(model: str, *, binary: bool, answer: str | None = None) -> InferRequest:
    tensor = InferInput("wines", list(WINES.shape), "FP32")
    tensor.set_data_from_numpy(WINES, binary_data=binary)
    outputs = [
        RequestedOutput(name, parameters={"binary_data": answer == "binary"})
        for name in (("label", "probabilities") if answer else ())
    ]
    return InferRequest(
        model, [tensor], request_id="42", parameters={"priority": 3}, request_outputs=outputs
    )


def told(reply: InferResponse) -> dict[str, Any]:
    found = {each.name: each.as_numpy() for each in reply.outputs}
    labels = [each.decode() if isinstance(each, bytes) else each for each in found["label"]]
    return {
        "model": reply.model_name,
        "version": reply.model_version,
        "id": reply.id,
        "labels": labels,
        "probabilities": found["probabilities"].shape,
        "best": found["probabilities"].argmax(axis=1).tolist(),
    }


async def rest(url: str) -> dict[str, Any]:
    config = RESTConfig(protocol="v2")
    async with InferenceRESTClient(config) as client:
        seen = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "models": [await client.is_model_ready(url, name) for name in ("wine", "beer")],
        }
        for name, sent, asked in (
            ("json", False, "json"),
            ("binary", True, "binary"),
            ("binary, json", True, "json"),
            ("json, binary", False, "binary"),
            ("as it likes", True, None),
        ):
            given = request("wine", binary=sent, answer=asked)
            seen[name] = told(await client.infer(url, given, model_name="wine"))
        data = request("wine", binary=False).to_rest()[0]
        seen["a dict"] = told(await client.infer(url, data, model_name="wine"))
        try:
            await client.infer(url, request("beer", binary=True), model_name="beer")
        except httpx.HTTPStatusError as error:
            seen["refused"] = str(error)
    return seen


async def rest_v1(url: str) -> Any:
    """KServe's first protocol is that of TensorFlow Serving."""
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        given = {"instances": WINES.tolist()}
        try:
            return await client.infer(url, given, model_name="wine")
        except httpx.HTTPStatusError as error:
            return str(error)


async def grpc(address: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address) as client:
        seen = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "models": [await client.is_model_ready(name) for name in ("wine", "beer")],
        }
        for name, binary in (("raw", True), ("typed", False)):
            seen[name] = told(await client.infer(request("wine", binary=binary)))
        try:
            await client.infer(request("beer", binary=True))
        except AioRpcError as error:
            seen["refused"] = error.code().name
    return seen


async def main(url: str, address: str) -> dict[str, Any]:
    return {"rest": await rest(url), "v1": await rest_v1(url), "grpc": await grpc(address)}


if __name__ == "__main__":
    logging.disable()  # it tells of each refusal
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
