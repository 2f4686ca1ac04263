"""What a model is to a serving actor: it describes itself, scores columns, and closes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.names import public_name


class FeatureKind(StrEnum):
    """How a feature's column is held."""

    NUMBER = "number"  # float64[n], NaN where missing
    TEXT = "text"  # object[n] of str, None where missing


class OnMissing(StrEnum):
    """What a model does with a record that lacks a feature."""

    REJECT = "reject"  # that record fails alone
    ACCEPT = "accept"  # the model declares how to treat it; it sees NaN


class OnInvalid(StrEnum):
    """What a model does with a value outside the categories or intervals that it declares valid."""

    REJECT = "reject"  # that record fails alone
    AS_MISSING = "as_missing"
    AS_IS = "as_is"


class Task(StrEnum):
    """What a model answers."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"


class Engine(StrEnum):
    """Which engine scores a model once it is on stage."""

    ONNX = "onnx"  # in the serving actor
    TENSORFLOW = "tensorflow"  # in a worker process of its own
    PYPMML = "pypmml"  # in a worker process of its own


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature that records of a data type have."""

    name: str
    kind: FeatureKind = FeatureKind.NUMBER


@dataclass(frozen=True, slots=True)
class Vector:
    """A field of `width` numbers, each of which is a feature: `pixels[0]`, `pixels[1]`, …."""

    name: str
    width: int

    def features(self) -> tuple[Feature, ...]:
        """Return its numbers as features."""
        return tuple(Feature(f"{self.name}[{place}]") for place in range(self.width))

    def __str__(self) -> str:
        return f"{self.name}[{self.width}]"


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of a data type, in the order in which unnamed model inputs take them.

    `features` are what models see: the same, with the numbers of vectors one by one.
    """

    data_type: str
    fields: tuple[Feature | Vector, ...]
    features: tuple[Feature, ...] = field(init=False, compare=False, repr=False)
    numbers: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """The names of the features that are numbers."""

    def __post_init__(self) -> None:
        parts = (each.features() if isinstance(each, Vector) else (each,) for each in self.fields)
        features = tuple(chain.from_iterable(parts))
        numbers = tuple(each.name for each in features if each.kind is FeatureKind.NUMBER)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "numbers", numbers)

    def described(self) -> str:
        """Return the fields as a user writes them."""
        return ", ".join(
            str(each) if isinstance(each, Vector) else each.name for each in self.fields
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of valid numbers; None means unbounded."""

    low: float | None = None
    high: float | None = None
    low_closed: bool = True
    high_closed: bool = True


@dataclass(frozen=True, slots=True)
class InputFeature:
    """How a model takes one feature.

    `name` is the schema's spelling of it, already matched: nothing on the scoring path compares
    names. A feature with `categories` reaches the engine as the index of its category (float64),
    as NaN where it is missing, and as -1 where it is unknown and `on_invalid` is AS_IS.
    """

    name: str
    on_missing: OnMissing = OnMissing.REJECT
    on_invalid: OnInvalid = OnInvalid.REJECT
    categories: tuple[str, ...] | None = None
    intervals: tuple[Interval, ...] = ()  # empty: every finite number is valid


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input of the engine: `features` side by side.

    Its shape is [n, len(features)], or [n] when `rank` is 1 (then there is exactly one feature).
    """

    name: str
    dtype: str  # numpy's name: float32, float64, int64, bool, …; `object` for strings
    features: tuple[InputFeature, ...]
    rank: int = 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Regression: `value_output` names a tensor [n] or [n, 1] of numbers.
    Classification: `label_output` names a tensor [n] or [n, 1] of labels (strings, or integers that
    are printed), or of indices into `classes` if `label_is_index`; without one, the label is the
    arg-max of `probabilities_output` ([n, len(classes)]), the first of equals.
    A NaN value, or an index of -1, means that the model gives no prediction for that record.
    `extra_outputs` name tensors [n] or [n, 1] of floats that the model gives beside its answer.
    """

    task: Task
    tensors: tuple[InputTensor, ...]
    value_output: str | None = None
    label_output: str | None = None
    label_is_index: bool = False
    probabilities_output: str | None = None
    classes: tuple[str, ...] = ()
    extra_outputs: tuple[str, ...] = ()

    def extra_names(self) -> tuple[str, ...]:
        """Return what `extra_outputs` are called in outcomes, and by users."""
        return tuple(map(public_name, self.extra_outputs))


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model as it leaves the green room, ready to be loaded by its engine.

    `content` is what the engine loads: ONNX bytes, a TensorFlow frozen graph, or PMML text. It is
    not what was published: the digest of a model version is that of the published content.
    """

    engine: Engine
    content: bytes
    signature: Signature


Column = NDArray[np.float64] | NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The number features of a batch side by side: `matrix` is float64[record, feature].

    `names` is one and the same tuple for all batches of a decoder.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """A batch of decoded records, by feature of the schema.

    Each array has length `count`: float64 with NaN where missing, or object (str or None). Those
    of `numbers`, if they are given, are the columns of its matrix.
    """

    count: int
    features: Mapping[str, Column]
    numbers: Numbers | None = None

    @classmethod
    def of(cls, numbers: Numbers, texts: Mapping[str, Column]) -> Self:
        """Return the columns of numbers and of texts."""
        features = dict(zip(numbers.names, numbers.matrix.T, strict=True))
        return cls(len(numbers.matrix), {**features, **texts}, numbers)


@dataclass(frozen=True, slots=True)
class Failed:
    """Why one record has no score."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One outcome for each record of a batch: a value, a label, or an entry in `failures`.

    Regression fills `values` (float64[n]). Classification fills `labels` (the classes, in order),
    `chosen` (int32[n], index into labels) and, if the model gives them, `probabilities`
    (float64[n, len(labels)]). Where a record failed, its number means nothing (NaN, -1).

    `extras` (float64[n]) are what the model says beside, by the public name of its output: NaN
    where that is not finite, or the record failed.
    """

    count: int
    values: NDArray[np.float64] | None = None
    labels: tuple[str, ...] = ()
    chosen: NDArray[np.int32] | None = None
    probabilities: NDArray[np.float64] | None = None
    failures: Mapping[int, Failed] = field(default_factory=dict)
    extras: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Model(Protocol):
    """A loaded model. Used by one thread at a time."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""

    def score(self, columns: Columns) -> Outcomes:
        """Score a batch: one outcome for each record, in order.

        Never raises for what a record holds: such a record is in `failures`, and its neighbours
        are scored. An empty batch gives empty outcomes. Raises `ModelBroken` when the engine
        itself is gone (a worker process died).
        """

    def close(self) -> None:
        """Free memory, threads and worker processes. Idempotent."""


class ModelBroken(Exception):
    """The engine behind a loaded model is gone; the model must be loaded again."""
