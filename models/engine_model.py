"""What all engines share: judge the records, run the good ones, read the outputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.inputs import Feed, Inputs, Tensors
from repertory.models.model import Columns, Failed, Outcomes, Signature
from repertory.models.outcomes import OutputReader, UnfitOutput, joined, spread, with_failures


class EngineFailed(Exception):
    """An engine could not score what it was given, and is still there; the message is its own."""


class EngineModel(ABC):
    """A Model on some engine.

    When the engine fails on a batch, its records are scored one by one, so that only the one at
    fault fails. A subclass gives `run`; `row_by_row` is for models that take one record at a time.
    """

    row_by_row = False

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._inputs = Inputs(signature)
        self._reader = OutputReader(signature)

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._signature

    @abstractmethod
    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names` for at least one record. Raises EngineFailed, ModelBroken."""

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds. Idempotent."""

    def score(self, columns: Columns) -> Outcomes:
        """Score a batch; see `repertory.models.model.Model`."""
        feed = self._inputs.feed(columns)
        outcomes = self._reader.empty() if feed.count == 0 else self._scored(feed)
        if feed.rows is None:
            return outcomes
        return with_failures(spread(outcomes, feed.rows, columns.count), feed.failures)

    def _scored(self, feed: Feed) -> Outcomes:
        if self.row_by_row:
            return self._one_by_one(feed)
        try:
            return self._reader.read(self.run(feed.tensors, self._reader.names), feed.count)
        except (EngineFailed, UnfitOutput):
            return self._one_by_one(feed)

    def _one_by_one(self, feed: Feed) -> Outcomes:
        return joined([self._alone(feed.tensors, row) for row in range(feed.count)])

    def _alone(self, tensors: Tensors, row: int) -> Outcomes:
        one = {name: tensor[row : row + 1] for name, tensor in tensors.items()}
        try:
            return self._reader.read(self.run(one, self._reader.names), 1)
        except (EngineFailed, UnfitOutput) as error:
            failed = Failed(FailureCode.SCORING_FAILED, f"the model failed: {error}")
            return self._reader.failed(failed)
