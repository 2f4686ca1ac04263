"""The segments of a MiningModel: a predicate, a weight, a model each."""

from dataclasses import dataclass
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.columns import Column
from repertory.models.pmml.predicates import (
    TAGS,
    Constant,
    Predicate,
    find_predicate,
    read_predicate,
    truth,
)
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape

MODELS: Final = "TreeModel RegressionModel GeneralRegressionModel NeuralNetwork MiningModel"

_SEGMENT: Final = Shape(attributes="weight", ignored="id", children=f"{TAGS} {MODELS}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment; its model is scored where the predicate is true."""

    model: Element
    predicate: Predicate
    weight: float

    @property
    def is_always(self) -> bool:
        """Whether every record is in this segment."""
        return self.predicate == Constant(True)

    def truth(self, scope: Scope) -> Column:
        """Return where records are in this segment."""
        return truth(self.predicate, scope.graph)


def read_segment(element: Element, scope: Scope) -> Segment:
    """Read a <Segment>. Raises NotCompiled or ModelRejected."""
    _SEGMENT.check(element)
    models = [child for child in element.children if child.tag in MODELS.split()]
    if len(models) != 1:
        raise ModelRejected(f"{element.where} has {len(models) or 'no'} models where 1 is due")
    weight = element.number("weight", 1.0)
    if weight < 0:
        raise NotCompiled(f"{element.where}: weight={weight} is negative")
    return Segment(models[0], read_predicate(find_predicate(element), scope), weight)
