"""The models that serve on several nodes, each once. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from repertory.actors.merged_part import Part, bare, by_name, position

_Models = Mapping[str, Mapping[str, Any]]  # of one data type on one node, by slot


def merged_models(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what `/models` says: by data type, and by rank where there are several.

    Each has `replicas`: which version each node has on stage. A policy may come on one node before
    the others; slots are those of the node that is ahead.
    """
    if len(parts) == 1 and parts[0].unreachable_since_ms is None:
        return {**parts[0].told, "models": [bare(model) for model in parts[0].told["models"]]}
    heard = [part for part in by_name(parts) if part.answer is not None]
    on_stage = [(part, _by_data_type(part.told["models"])) for part in heard]
    names = sorted({name for _, models in on_stage for name in models})
    return {
        "models": [
            model
            for name in names
            for model in _merged(
                [(part, models[name]) for part, models in on_stage if name in models]
            )
        ]
    }


def _by_data_type(models: Sequence[Mapping[str, Any]]) -> dict[str, _Models]:
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for model in models:
        found.setdefault(model["dataType"], {})[model.get("slot", "")] = model
    return dict(found)


def _merged(serving: Sequence[tuple[Part, _Models]]) -> list[dict[str, Any]]:
    """Return the models of one data type."""
    _, ahead = max(serving, key=lambda each: (_newest(each[1]), len(each[1])))
    return [
        _model([(part, models[slot]) for part, models in serving if slot in models])
        for slot in ahead
    ]


def _newest(models: _Models) -> int:
    return max(map(position, models.values()))


def _model(told: Sequence[tuple[Part, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the newest of what nodes have in the same slot, and what each has."""
    newest = max((model for _, model in told), key=position)
    same = [model for _, model in told if model["version"] == newest["version"]]
    return {
        **bare(newest),
        "since": min(model["since"] for model in same),
        "replicas": {part.node: _replica(part, model) for part, model in told},
    }


def _replica(part: Part, model: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("version", "position", "since", "pid")
    return part.replica(**{key: model[key] for key in keys if key in model})
