"""What the Open Inference Protocol tells of models: which there are, and what goes in and out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.http.asking import ask
from repertory.http.inference import Inference, Target
from repertory.http.outputs import outputs_of
from repertory.http.replies import RETRY_AFTER, json_reply
from repertory.http.tensors import BYTES, TensorSpec

# Whatever a model was written as, it is compiled to ONNX.
PLATFORM = "onnx_onnxv1"

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """What a request names, and the models on stage that it means."""

    name: str
    target: Target
    models: Sequence[Told]


class Models:
    """Tells of models, as the router knows them."""

    def __init__(self, config: ClusterConfig, router: RouterClient, inference: Inference) -> None:
        self._max_batch = {name: each.max_batch for name, each in config.data_types.items()}
        self._router = router
        self._inference = inference

    async def on_stage(self) -> Sequence[Told]:
        """Return all models that serve, as `/models` has them."""
        return list((await ask(self._router, "models"))["models"])

    async def named(self, request: web.Request) -> Named:
        """Return what a path names. Raises UnknownDataType or NotFound."""
        return await self.find(request.match_info["model"], request.match_info.get("version", ""))

    async def find(self, name: str, version: str = "") -> Named:
        """Return what a name and a version mean. Raises UnknownDataType or NotFound."""
        target, models = await asyncio.gather(
            self._inference.target(name, version), self.on_stage()
        )
        meant = [each for each in models if each["dataType"] == target.data_type]
        if name != target.data_type:
            meant = [each for each in meant if each["name"] == name]
        if target.version is not None:
            meant = [each for each in meant if each["version"] == target.version]
        return Named(name, target, meant)

    async def names(self, _: web.Request) -> web.Response:
        """Answer by which names models can be asked: data types, then the models that serve."""
        serving = [each["name"] for each in await self.on_stage()]
        return json_reply({"models": list(dict.fromkeys([*self._inference.signatures, *serving]))})

    async def metadata(self, request: web.Request) -> web.Response:
        """Answer what the inputs and the outputs are, and which versions serve."""
        return json_reply(self.metadata_of(await self.named(request)))

    def metadata_of(self, named: Named) -> dict[str, Any]:
        """Return what the inputs and the outputs are, and which versions serve."""
        return {
            "name": named.name,
            "versions": [str(number) for number in _versions(named)],
            "platform": PLATFORM,
            "inputs": [_metadata(each) for each in named.target.signature.inputs],
            "outputs": [_metadata(each) for each in outputs_of(named.models)],
            "parameters": _parameters(named),
        }

    async def ready(self, request: web.Request) -> web.Response:
        """Answer 200 when a model serves that is meant, and 503 otherwise."""
        named = await self.named(request)
        ready = bool(named.models)
        body: dict[str, Any] = {"name": named.name, "ready": ready}
        if ready:
            return json_reply(body)
        body["error"] = f"no model serves {named.name!r} at present"
        return json_reply(body, status=503, headers=RETRY_AFTER)

    async def config(self, request: web.Request) -> web.Response:
        """Answer how a model is served, as Triton's model configuration says it."""
        return json_reply(self.config_of(await self.named(request)))

    def config_of(self, named: Named) -> dict[str, Any]:
        """Return how a model is served, as Triton's model configuration says it."""
        parameters = {key: {"string_value": text} for key, text in _parameters(named).items()}
        return {
            "name": named.name,
            "platform": PLATFORM,
            "backend": "onnxruntime",
            "max_batch_size": self._max_batch[named.target.data_type],
            "version_policy": {"specific": {"versions": _versions(named)}},
            "input": [_configuration(each) for each in named.target.signature.inputs],
            "output": [_configuration(each) for each in outputs_of(named.models)],
            "parameters": parameters,
        }


def _versions(named: Named) -> list[int]:
    return sorted({each["version"] for each in named.models})


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _configuration(spec: TensorSpec) -> dict[str, Any]:
    """Return an input or output of a record; a shape without sizes is written as Triton does."""
    datatype = "STRING" if spec.datatype == BYTES else spec.datatype
    about = {"name": spec.name, "data_type": f"TYPE_{datatype}"}
    if sizes := list(spec.shape[1:]):
        return {**about, "dims": sizes}
    return {**about, "dims": [1], "reshape": {"shape": []}}


def _parameters(named: Named) -> dict[str, str]:
    """Return what the protocol has no place for, of the best-ranked model."""
    about = {"data_type": named.target.data_type}
    if named.models:
        best = named.models[0]
        about |= {"model": best["name"], "model_type": best["modelType"], "sha256": best["sha256"]}
    return about
