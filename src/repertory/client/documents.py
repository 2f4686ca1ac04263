"""What nodes tell of models, policies and themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self

from repertory.client.scores import Model, model_of


def _moment(ms: float | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


# Of a field that nodes tell in milliseconds since 1970.
MOMENT = {"read": _moment}


class _Told:
    """A part of a reply: its keys are the fields' names in camel case, others are left out."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return what a document says."""
        known = {}
        for each in fields(cls):  # type: ignore[arg-type]
            key = _camel(each.name)
            if key in document:
                known[each.name] = each.metadata.get("read", _same)(document[key])
        return cls(**known)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Published(_Told):
    """What became of a model: its `state` is SERVING, WARM, RETIRED, or PUBLISHED if on its way."""

    data_type: str
    state: str
    name: str = ""
    version: int | None = None  # of what never served, and is retired
    sha256: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stage(_Told):
    """One state that a version came to."""

    state: str
    at: datetime | None = field(default=None, metadata=MOMENT)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Version(_Told):
    """One of the versions of a data type's models."""

    data_type: str
    name: str
    version: int
    state: str
    sha256: str = ""
    reason: str = ""
    description: str = ""
    model_type: str = ""
    signed_by: str | None = None
    published_by: str | None = None
    origin: str | None = None
    published: datetime | None = field(default=None, metadata=MOMENT)
    serving_since: datetime | None = field(default=None, metadata=MOMENT)
    retired: datetime | None = field(default=None, metadata=MOMENT)
    history: Sequence[Stage] = field(
        default=(), metadata={"read": lambda stages: tuple(map(Stage.of, stages))}
    )


@dataclass(frozen=True, slots=True)
class Serving(_Told):
    """A model on stage."""

    data_type: str
    name: str
    version: int
    sha256: str
    description: str = ""
    model_type: str = ""
    since: datetime | None = field(default=None, metadata=MOMENT)


@dataclass(frozen=True, slots=True)
class Policy(_Told):
    """A policy, as a version of it was put in force; without `policy`, its removal."""

    data_type: str
    version: int
    state: str
    policy: str | None = None
    settings: Mapping[str, Any] | None = None
    description: str = ""
    reason: str = ""
    published: datetime | None = field(default=None, metadata=MOMENT)
    decided: datetime | None = field(default=None, metadata=MOMENT)


@dataclass(frozen=True, slots=True)
class Health(_Told):
    """Whether a node can do all that it is to do, and else what is in the way."""

    ready: bool
    node: str = ""
    error: str = ""
    waiting_for: Sequence[str] = field(default=())
    troubles: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnStage:
    """Which models a data type has on stage; what `watch` yields.

    `model` is the one that serves, or with a policy the best-ranked; None when none does. `slots`
    has those of a policy's slots and shadows, and `policy` is its version.
    """

    data_type: str
    model: Model | None = None
    slots: Mapping[str, Model | None] = field(default_factory=dict)
    policy: int | None = None


@dataclass(frozen=True, slots=True)
class State(_Told):
    """How a data type's model does since it is on stage; times are in milliseconds.

    `document` is all that the node said: with a policy, also of each slot.
    """

    data_type: str
    name: str = ""
    version: int | None = None
    sha256: str = ""
    description: str = ""
    model_type: str = ""
    since: datetime | None = field(default=None, metadata=MOMENT)
    usage: int = 0
    errors: int = 0
    batches: int = 0
    duration: float = 0.0
    min: float | None = None
    max: float | None = None
    percentiles: Mapping[str, float] = field(default_factory=dict)
    node: str = ""
    as_of: datetime | None = field(default=None, metadata=MOMENT)
    stale: bool = False
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def on_stage(self) -> OnStage:
        """Which models these are."""
        told, slots = self.document, self.document.get("slots") or {}
        policy = told.get("policy") or {}
        models = {name: model_of(slot) for name, slot in slots.items()}
        return OnStage(self.data_type, model_of(told), models, policy.get("version"))


def state_of(document: Mapping[str, Any]) -> State:
    """Return what a reply of `/state` says."""
    return State.of({**document, "document": document})
