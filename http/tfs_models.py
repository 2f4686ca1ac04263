"""What TensorFlow Serving's APIs tell of models: their versions, what goes in and out."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import InvalidRequest, NoModel, NotFound
from repertory.http.asking import ask
from repertory.http.inference import Inference
from repertory.http.outputs import outputs_of
from repertory.http.replies import json_reply
from repertory.http.tensors import BYTES, TensorSpec
from repertory.http.tfs_names import Names, Path
from repertory.http.tfs_request import SIGNATURE

# Ours, as TensorFlow Serving has them: only what is AVAILABLE scores, only END is left for good.
# UNLOADING is a moment that no version is seen in: its successor is there when it goes.
STATES: Mapping[str, str] = MappingProxyType(
    {
        "PUBLISHED": "START",
        "LOADING": "LOADING",
        "WARM": "LOADING",
        "SERVING": "AVAILABLE",
        "RETIRED": "END",
        "REJECTED": "END",
    }
)
DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "DT_BOOL",
        "INT8": "DT_INT8",
        "INT16": "DT_INT16",
        "INT32": "DT_INT32",
        "INT64": "DT_INT64",
        "UINT8": "DT_UINT8",
        "UINT16": "DT_UINT16",
        "UINT32": "DT_UINT32",
        "UINT64": "DT_UINT64",
        "FP16": "DT_HALF",
        "FP32": "DT_FLOAT",
        "FP64": "DT_DOUBLE",
        BYTES: "DT_STRING",
    }
)

_Versions = Sequence[Mapping[str, Any]]


class TfsModels:
    """Answers `GET /v1/models/…`, and has the answers, as JSON has them, for gRPC."""

    def __init__(self, router: RouterClient, inference: Inference, names: Names) -> None:
        self._router = router
        self._inference = inference
        self._names = names

    async def status(self, request: web.Request) -> web.Response:
        """Answer in which state each version is that the path names, the newest first."""
        return json_reply(await self.status_of(Path.of(request)))

    async def metadata(self, request: web.Request) -> web.Response:
        """Answer what the inputs and the outputs are. Raises NoModel when none is on stage."""
        return json_reply(await self.metadata_of(Path.of(request)))

    async def status_of(self, path: Path) -> dict[str, Any]:
        """Return in which state each version is. Raises NotFound, InvalidRequest."""
        versions = await self._versions(path.model)
        if path.label:
            target = await self._names.target(path)
            meant = {each["version"] for each in await self._names.on_stage(path.model, target)}
            versions = [each for each in versions if each["version"] in meant]
        elif path.version:
            versions = [each for each in versions if str(each["version"]) == path.version]
        if not versions:
            which = f"version {path.version}" if path.version else "any versions"
            raise NotFound(f"Could not find {which} of model {path.model}")
        return {"model_version_status": [_status(each) for each in versions]}

    async def metadata_of(self, path: Path) -> dict[str, Any]:
        """Return what the inputs and the outputs are. Raises NoModel, NotFound, InvalidRequest."""
        target = await self._names.target(path)
        models = await self._names.on_stage(path.model, target)
        if not models:
            raise NoModel(f"no model serves {path.model!r} at present")
        signature = {
            "inputs": {each.name: _tensor_info(each) for each in target.signature.inputs},
            "outputs": {each.name: _tensor_info(each) for each in outputs_of(models)},
            "method_name": "tensorflow/serving/predict",
        }
        spec = {
            "name": path.model,
            "signature_name": "",
            "version": str(models[0]["version"]),
        }
        definitions = {"signature_def": {SIGNATURE: signature}}
        return {"model_spec": spec, "metadata": {"signature_def": definitions}}

    async def _versions(self, model: str) -> _Versions:
        """Return the versions of a data type, or those that have a model's name, in any state."""
        if model in self._inference.signatures:
            return await self._of_data_type(model)
        every = await asyncio.gather(*map(self._of_data_type, self._inference.signatures))
        found = [[each for each in one if each["name"] == model] for one in every]
        named = [one for one in found if one]
        if len(named) > 1:
            told = ", ".join(one[0]["dataType"] for one in named)
            raise InvalidRequest(
                f"models of several data types are named {model!r}: {told}; name one"
            )
        return named[0] if named else []

    async def _of_data_type(self, data_type: str) -> _Versions:
        return list((await ask(self._router, "versions", data_type=data_type))["versions"])


def _status(version: Mapping[str, Any]) -> dict[str, Any]:
    rejected = version["state"] == "REJECTED"
    return {
        "version": str(version["version"]),
        "state": STATES[version["state"]],
        "status": {
            "error_code": "INVALID_ARGUMENT" if rejected else "OK",
            "error_message": version["reason"] if rejected else "",
        },
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in spec.shape]
    return {
        "dtype": DTYPES[spec.datatype],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{spec.name}:0",
    }
