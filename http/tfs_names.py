"""Whom TensorFlow Serving's APIs name: a model, and its version or its label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from repertory.actors.client import RouterClient
from repertory.errors import InvalidRequest, NotFound, UnknownDataType
from repertory.http.asking import ask
from repertory.http.inference import Inference, Target

# What serves, whatever it is; unless a policy has a slot of this name.
STABLE = "stable"

OnStage = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Path:
    """What a path, or a message, names; at most one of `version` and `label` is not empty."""

    model: str
    version: str
    label: str

    @classmethod
    def of(cls, request: web.Request) -> "Path":
        """Return what the path of a request names."""
        found = request.match_info
        return cls(found["model"], found.get("version", ""), found.get("label", ""))


class Names:
    """Knows what names, versions and labels stand for."""

    def __init__(self, router: RouterClient, inference: Inference) -> None:
        self._router = router
        self._inference = inference

    async def target(self, path: Path) -> Target:
        """Return who is to score. Raises NotFound as TensorFlow Serving words it, InvalidRequest."""
        try:
            target = await self._inference.target(path.model, path.version)
        except (NotFound, UnknownDataType):
            asked = f"Specific({path.model}, {path.version})"
            asked = asked if path.version else f"Latest({path.model})"
            raise NotFound(f"Servable not found for request: {asked}") from None
        return await self._labelled(target, path.label) if path.label else target

    async def on_stage(self, model: str, target: Target) -> OnStage:
        """Return the models that may answer, the best-ranked one first."""
        models = (await ask(self._router, "models"))["models"]
        return [
            each
            for each in models
            if each["dataType"] == target.data_type
            and (model in (target.data_type, each["name"]))
            and target.version in (None, each["version"])
        ]

    async def _labelled(self, target: Target, label: str) -> Target:
        slots = {
            each.get("slot"): each["version"]
            for each in await self.on_stage(target.data_type, target)
        }
        if label in slots:
            return replace(target, version=slots[label], slot=label)
        if label == STABLE:
            return target
        raise InvalidRequest(f"Unrecognized servable version label: {label}")
