"""What records were scored to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from repertory.errors import RequestFailed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model; `sha256` is empty where only its number is told."""

    name: str
    version: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What one record was scored to: a `label`, a `value`, or else an `error` with its `code`.

    `slot` and `fallback` are told where a policy chose, `answers` when it was to explain itself.
    """

    model: Model | None
    label: str | None = None
    value: float | None = None
    probabilities: Mapping[str, float] | None = None
    error: str | None = None
    code: str | None = None
    slot: str | None = None
    fallback: bool = False
    answers: Sequence[Mapping[str, Any]] = ()

    @property
    def failed(self) -> bool:
        """Whether the record could not be scored."""
        return self.error is not None


class ScoresFailed(RequestFailed):
    """Some of the records could not be scored; `failed` has each with its place."""

    def __init__(self, failed: Sequence[tuple[int, Score]], count: int) -> None:
        place, first = failed[0]
        super().__init__(
            f"{len(failed)} of {count} records could not be scored; record {place}: {first.error}"
        )
        self.failed = failed


@dataclass(frozen=True, slots=True)
class Scores(Sequence[Score]):
    """A score for each record, in order.

    Without a policy, `model` made them all; with one, it is the best-ranked that was chosen for
    any, and each score has its own. It is None only when there is none to tell.
    """

    data_type: str
    model: Model | None
    scores: tuple[Score, ...]
    policy: Mapping[str, Any] | None = None
    index: Any = None

    @overload
    def __getitem__(self, place: int) -> Score: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Score, ...]: ...
    def __getitem__(self, place: int | slice) -> Score | tuple[Score, ...]:
        """Return a record's score, or those of several."""
        return self.scores[place]

    def __len__(self) -> int:
        """Return how many records there were."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Score]:
        """Iterate over the scores."""
        return iter(self.scores)

    def check(self) -> "Scores":
        """Return these scores. Raises ScoresFailed when a record could not be scored."""
        failed = [(place, each) for place, each in enumerate(self.scores) if each.failed]
        if failed:
            raise ScoresFailed(failed, len(self.scores))
        return self

    def to_numpy(self) -> "NDArray[Any]":
        """Return labels, as texts, or else values; of records that failed, None or NaN."""
        import numpy as np

        if any(each.label is not None for each in self.scores):
            return np.array([each.label for each in self.scores], dtype=object)
        return np.array([each.value for each in self.scores], dtype=np.float64)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row for each record, with the index of the table that was scored.

        Columns: `label` or `value`, `probability_…` of each class, `error` and `code`, and the
        `model` and its `version`; with a policy `slot` and `fallback`, too.
        """
        import pandas as pd

        classes = dict.fromkeys(name for each in self.scores for name in each.probabilities or ())
        answer = "label" if any(each.label is not None for each in self.scores) else "value"
        columns: dict[str, list[Any]] = {answer: [getattr(each, answer) for each in self.scores]}
        for name in classes:
            shares = [(each.probabilities or {}).get(name) for each in self.scores]
            columns[f"probability_{name}"] = shares
        for name in ("error", "code", *(("slot", "fallback") if self.policy else ())):
            columns[name] = [getattr(each, name) for each in self.scores]
        columns["model"] = [each.model and each.model.name for each in self.scores]
        columns["version"] = [each.model and each.model.version for each in self.scores]
        table = pd.DataFrame(columns, index=self.index)
        numbers = [f"probability_{name}" for name in classes]
        numbers += ["value"] if answer == "value" else []
        return table.astype(dict.fromkeys(numbers, "float64"))


def scores_of(document: Mapping[str, Any], index: Any = None) -> Scores:
    """Return what a reply of `/score` says."""
    model = model_of(document["model"])
    scores = tuple(_score(each, model) for each in document["results"])
    return Scores(document["dataType"], model, scores, document.get("policy"), index)


def model_of(document: Mapping[str, Any] | None) -> Model | None:
    """Return the model that a part of a reply names, if it names one."""
    if document is None or "version" not in document:
        return None
    return Model(document["name"], document["version"], document.get("sha256", ""))


def _score(result: Mapping[str, Any], model: Model | None) -> Score:
    known = {key: result[key] for key in _KEYS if key in result}
    own = model_of(result.get("model"))
    return Score(_whole(own, model) if own else model, **known)


def _whole(own: Model, best: Model | None) -> Model:
    """Return the same model with its digest, where it is known."""
    same = best is not None and (best.name, best.version) == (own.name, own.version)
    return best if same and best is not None else own


_KEYS = ("label", "value", "probabilities", "error", "code", "slot", "fallback", "answers")
