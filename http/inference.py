"""Scoring by tensors: what all standard protocols have in common."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repertory.actors.batch import JSON, Label, ModelRef, Outcome, RecordFailed, Value
from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import InvalidRequest, NotFound, UnknownDataType
from repertory.http.asking import ask
from repertory.http.dispatch import Answered, Dispatcher
from repertory.http.record_body import RecordBody
from repertory.http.signature import Signature
from repertory.http.tensors import BYTES, Tensor, texts
from repertory.http.visitor import demand_data_type

VALUE, LABEL, PROBABILITIES = "value", "label", "probabilities"

# More than any version has, and few enough for int().
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Target:
    """The data type that a request names, itself or by a model that serves it.

    Where a policy is in force, a model that is named, or its version, is on a `slot` of its own,
    which answers alone.
    """

    data_type: str
    signature: Signature
    version: int | None  # that must answer; None: whichever serves
    slot: str = ""


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a model version said of all records of a request, by column.

    `outputs` are `value` (FP64 [record]) or `label` (BYTES [record]) and, if the model gives them,
    `probabilities` (FP64 [record, label]) in the order of `labels`.
    """

    data_type: str
    model: ModelRef
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]


class Inference:
    """Has tensors scored, in the batches, and with the statistics, of all other records."""

    def __init__(self, config: ClusterConfig, router: RouterClient, dispatcher: Dispatcher) -> None:
        self._router = router
        self._dispatcher = dispatcher
        self.signatures = {name: Signature.of(each) for name, each in config.data_types.items()}

    async def target(self, name: str, version: str = "") -> Target:
        """Return what a name, of a data type or of a model that serves one, stands for.

        Raises UnknownDataType, or NotFound when there is no such version on stage.
        """
        number = _version(name, version)
        if name in self.signatures:
            demand_data_type(name)
        if number is None and name in self.signatures:
            return Target(name, self.signatures[name], None)  # nobody has to be asked
        models = (await ask(self._router, "models"))["models"]
        if name in self.signatures:
            found = [each for each in models if each["dataType"] == name]
        else:
            found = [each for each in models if each["name"] == name]
        names = {each["dataType"] for each in found} or {name} & set(self.signatures)
        if not names:
            raise UnknownDataType(
                f"there is no data type {name!r}, and no model of that name serves"
            )
        if len(names) > 1:
            told = ", ".join(sorted(names))
            raise InvalidRequest(
                f"models of several data types are named {name!r}: {told}; name one"
            )
        if number is not None and number not in {each["version"] for each in found}:
            raise NotFound(f"version {number} of {name!r} does not serve")
        data_type = names.pop()
        demand_data_type(data_type)
        return Target(data_type, self.signatures[data_type], number, _slot(found, number))

    async def infer(self, target: Target, tensors: Sequence[Tensor], *, seconds: float) -> Inferred:
        """Score the records in `tensors`, within some seconds.

        Raises InvalidRequest, also when a record cannot be scored: a tensor has no place for that;
        NotFound when another model than is wanted answered; or a RequestFailed.
        """
        records = target.signature.records(tensors)
        if not records:
            raise InvalidRequest("the inputs have no records: their first size is 0")
        body = RecordBody(records, JSON)
        deadline = asyncio.get_running_loop().time() + seconds
        scored = await self._dispatcher.score(
            target.data_type, body, deadline=deadline, slot=target.slot
        )
        _check_model(scored, target)
        outputs, labels = _columns(scored.outcomes)
        return Inferred(target.data_type, scored.model, outputs, labels)


def _slot(models: Sequence[Mapping[str, Any]], version: int | None) -> str:
    """Return the slot of the one model that is meant; nothing if it shares the stage with none."""
    meant = [each for each in models if version in (None, each["version"])]
    return str(meant[0].get("slot", "")) if len(meant) == 1 else ""


def _check_model(scored: Answered, target: Target) -> None:
    """Raise NotFound when another model answered: it came on stage, or a policy, meanwhile."""
    models = {scored.model}
    if scored.choices is not None:
        models = {each.model for each in scored.choices.decisions if each.model is not None}
    for model in models:
        if target.version not in (None, model.version) or target.slot not in ("", model.name):
            raise NotFound(
                f"what was asked for left the stage of {target.data_type!r} meanwhile:"
                f" version {model.version} of {model.name!r} answered"
            )


def _version(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise NotFound(f"there is no version {text!r} of {name!r}: versions are whole numbers")
    return int(text)


def _columns(outcomes: Sequence[Outcome]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    failed = [(row, each) for row, each in enumerate(outcomes) if isinstance(each, RecordFailed)]
    if failed:
        row, first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise InvalidRequest(f"record {row}: {first.message}{more}")
    if all(isinstance(each, Value) for each in outcomes):
        values = np.array([each.value for each in outcomes if isinstance(each, Value)])
        return (Tensor(VALUE, "FP64", values),), ()
    labels = [each for each in outcomes if isinstance(each, Label)]
    if len(labels) < len(outcomes):
        raise InvalidRequest("the records were scored by models of two kinds: score them by slot")
    return _classes(labels)


def _classes(labels: Sequence[Label]) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    chosen = Tensor(LABEL, BYTES, texts([each.label for each in labels]))
    classes = tuple(labels[0].probabilities)
    if not classes or any(tuple(each.probabilities) != classes for each in labels):
        return (chosen,), ()
    rows: list[list[Any]] = [list(each.probabilities.values()) for each in labels]
    return (chosen, Tensor(PROBABILITIES, "FP64", np.array(rows, dtype=np.float64))), classes
