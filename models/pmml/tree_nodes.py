"""TreeModel elements, read into nodes. Nothing here recurses: a tree may be as deep as it likes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from repertory.errors import ModelRejected
from repertory.models.pmml.predicates import TAGS, Predicate, find_predicate, read_predicate
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.xml import Element, Shape, parse_number

_NODE: Final = Shape(
    attributes="id score recordCount defaultChild",
    children=f"{TAGS} Node ScoreDistribution Partition",
)
# Strategies for missing values by which every record ends in one node.
SINGLE_PATH: Final = ("none", "lastPrediction", "nullPrediction", "defaultChild")
_DISTRIBUTION: Final = Shape(attributes="value recordCount confidence probability")


class ClassShare(NamedTuple):
    """A <ScoreDistribution>: how many records of a node are of a class."""

    label: str
    records: float
    probability: float | None
    confidence: float | None


@dataclass(slots=True, eq=False)
class Node:
    """A node: when it is taken, what it predicts, where it leads."""

    element: Element
    predicate: Predicate
    children: "list[Node]" = field(default_factory=list)
    _shares: "list[ClassShare] | None" = None

    @property
    def where(self) -> str:
        """Say which node this is."""
        return self.element.where

    @property
    def score(self) -> str | None:
        """What it predicts, if it says so."""
        return self.element.attributes.get("score")

    @property
    def record_count(self) -> float:
        """How many records it was made from. Raises NotCompiled when it does not say so."""
        if "recordCount" not in self.element.attributes:
            raise NotCompiled(f"{self.where} has no recordCount, by which it would be weighted")
        return self.element.number("recordCount")

    @property
    def default_child(self) -> "Node | None":
        """The child that is taken where a predicate is unknown."""
        name = self.element.attributes.get("defaultChild")
        if name is None:
            return None
        for child in self.children:
            if child.element.attributes.get("id") == name:
                return child
        raise ModelRejected(f"{self.where}: its defaultChild {name!r} is none of its children")

    def value(self) -> float:
        """Return the number that it predicts, NaN for none."""
        if self.score is None:
            return math.nan
        return parse_number(self.score, self)

    def shares(self) -> list[ClassShare]:
        """Return its distribution of classes, empty where it has none."""
        if self._shares is None:
            self._shares = [
                ClassShare(
                    label=share.require("value"),
                    records=share.number("recordCount"),
                    probability=share.optional_number("probability"),
                    confidence=share.optional_number("confidence"),
                )
                for share in self.element.children
                if share.tag == "ScoreDistribution"
            ]
        return self._shares

    def label(self, target: TargetField) -> float:
        """Return the index of the class that it predicts, NaN for none."""
        if self.score is not None:
            return float(target.index(self.score, self))
        counts = self.counts(target)
        return float(counts.index(max(counts))) if counts else math.nan

    def counts(self, target: TargetField) -> list[float]:
        """Return how many of its records are of each class; empty without a distribution."""
        return self._by_class(target, [share.records for share in self.shares()])

    def probabilities(self, target: TargetField) -> list[float]:
        """Return the probability of each class, 0 for one it leaves out; empty if it gives none."""
        shares = self.shares()
        stated = [share.probability for share in shares if share.probability is not None]
        if stated and len(stated) < len(shares):
            raise NotCompiled(
                f"{self.where}: only some of its ScoreDistributions have a probability"
            )
        if stated:
            return self._by_class(target, stated)
        total = sum(share.records for share in shares)
        if total <= 0.0:
            return [math.nan] * len(target.classes) if shares else []
        return self._by_class(target, [share.records / total for share in shares])

    def _by_class(self, target: TargetField, numbers: Sequence[float]) -> list[float]:
        shares = self.shares()
        if not shares:
            return []
        row = [0.0] * len(target.classes)
        for share, number in zip(shares, numbers, strict=True):
            row[target.index(share.label, self)] += number
        return row


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree, and what happens where no child's predicate is true or one is unknown."""

    root: Node
    on_unknown: str
    keeps_last: bool  # where no child is taken, the parent's own prediction is the answer
    is_float: bool

    @property
    def is_single_path(self) -> bool:
        """Whether every record ends in one node."""
        return self.on_unknown in SINGLE_PATH


def read_nodes(root: Element, scope: Scope) -> Node:
    """Read a <Node> and all below it, in the order of the document."""
    top = _read_node(root, scope)
    pending = [top]
    while pending:
        node = pending.pop()
        for child in node.element.children:
            if child.tag == "Node":
                node.children.append(_read_node(child, scope))
        pending.extend(node.children)
    return top


def _read_node(element: Element, scope: Scope) -> Node:
    _NODE.check(element)
    for child in element.children:
        if child.tag == "ScoreDistribution":
            _DISTRIBUTION.check(child)
    return Node(element, read_predicate(find_predicate(element), scope))
