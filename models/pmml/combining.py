"""Ensembles: models whose predictions are averaged, added up, or counted as votes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.ensemble import Ensemble
from repertory.models.pmml.frame import open_model
from repertory.models.pmml.matrices import Combination, Weights, ballots, median
from repertory.models.pmml.model_element import is_classification
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.segments import Segment
from repertory.models.pmml.tree_nodes import Tree
from repertory.models.pmml.trees import leaf_labels, leaf_probabilities, leaf_values, read_tree
from repertory.models.pmml.xml import Element

CompileModel = Callable[[Element, Scope], tuple[Answer, Scope]]

_MEANS: Final = ("average", "weightedAverage")
_SUMS: Final = ("sum", "weightedSum", "x-weightedSum")
_VOTES: Final = ("majorityVote", "weightedMajorityVote")
_WEIGHTED: Final = ("weightedAverage", "weightedMajorityVote", "weightedSum", "x-weightedSum")


@dataclass(frozen=True, slots=True)
class Combining:
    """An ensemble: its segments, and how they are combined."""

    element: Element
    segmentation: Element
    segments: list[Segment]
    scope: Scope
    compile_model: CompileModel

    def answer(self) -> Answer:
        """Compile it. Raises NotCompiled for a method or a mixture that is not understood."""
        classifies = is_classification(self.element)
        known = (*_MEANS, *_VOTES) if classifies else (*_MEANS, *_SUMS, "median")
        if self._method not in known:
            function = self.element.get("functionName")
            raise self._refusal("multipleModelMethod", f"in {function}")
        for segment in self.segments:
            if is_classification(segment.model) != classifies:
                raise NotCompiled(
                    f"{segment.model.where}: its functionName is not that of {self.element.where}"
                )
        return self._classified() if classifies else Answer(value=self._number())

    @property
    def _method(self) -> str:
        return self.segmentation.get("multipleModelMethod")

    @property
    def _skips_missing(self) -> bool:
        return self.segmentation.get("missingPredictionTreatment") == "skipSegment"

    def _refusal(self, attribute: str, what: str) -> NotCompiled:
        value = self.segmentation.get(attribute)
        return NotCompiled(
            f"{self.segmentation.where}: {attribute}={value!r} {what} is not understood"
        )

    def _constants(self) -> tuple[float, ...]:
        weighted = self._method in _WEIGHTED
        return tuple(segment.weight if weighted else 1.0 for segment in self.segments)

    def _forest(self) -> list[Tree] | None:
        """Return the trees of an ensemble of plain trees, None if it is something else."""
        for segment in self.segments:
            is_tree = segment.model.tag == "TreeModel" and segment.is_always
            if not is_tree or segment.model.find("Targets") is not None:
                return None
        trees = [
            read_tree(segment.model, open_model(segment.model, self.scope))
            for segment in self.segments
        ]
        return trees if all(tree.is_single_path for tree in trees) else None

    def _answers(self) -> list[Answer]:
        answers = [self.compile_model(segment.model, self.scope)[0] for segment in self.segments]
        if any(answer.classes != answers[0].classes for answer in answers):
            raise NotCompiled(f"{self.element.where}: its segments predict different classes")
        return answers

    def _number(self) -> str:
        trees = None if self._skips_missing or self._method == "median" else self._forest()
        if trees is not None:
            return self._total_of_trees(trees)
        graph = self.scope.graph
        values = graph.concat([a.value for a in self._answers() if a.value is not None])
        if self._method == "median":
            if self._skips_missing or not all(segment.is_always for segment in self.segments):
                raise self._refusal("multipleModelMethod", "of only some segments")
            return median(graph, values, len(self.segments))
        combination = Combination(graph, self._weights(values))
        return combination.mean(values) if self._method in _MEANS else combination.total(values)

    def _total_of_trees(self, trees: list[Tree]) -> str:
        """Let the tree operator itself add up the values of the leaves."""
        ensemble = Ensemble(self.scope.graph)
        for tree in trees:
            ensemble.add(tree)
        weights = self._constants()
        values = leaf_values(ensemble, is_float=any(tree.is_float for tree in trees))
        total = ensemble.total(
            [
                value * weights[tree]
                for value, tree in zip(values, ensemble.tree_of_leaf, strict=True)
            ]
        )
        if self._method in _SUMS:
            return total
        return self.scope.graph.over(total, self.scope.graph.number(sum(weights)))

    def _classified(self) -> Answer:
        graph, target = self.scope.graph, self.scope.target
        assert target is not None
        trees = self._forest()
        shares = self._shares_of_trees(trees) if trees is not None else self._shares()
        probabilities = Combination(graph, self._weights(shares[0])).means(shares)
        label = graph.first_maximum(probabilities)
        return Answer(classes=target.classes, label=label, probabilities=probabilities)

    def _shares(self) -> list[str]:
        """Return, for each class, the members' probabilities or votes, [n, m]."""
        answers, graph = self._answers(), self.scope.graph
        count = len(answers[0].classes)
        if self._method in _VOTES:
            labels = graph.concat([a.label for a in answers if a.label is not None])
            return ballots(graph, labels, count)
        rows = [answer.probabilities for answer in answers if answer.probabilities is not None]
        if len(rows) < len(answers):
            raise self._refusal("multipleModelMethod", "of models without probabilities")
        return [graph.concat([graph.column(row, place) for row in rows]) for place in range(count)]

    def _shares_of_trees(self, trees: list[Tree]) -> list[str]:
        """Return the same from one tree operator and a table of the leaves for each class."""
        graph, target = self.scope.graph, self.scope.target
        assert target is not None
        ensemble = Ensemble(graph)
        for tree in trees:
            ensemble.add(tree)
        leaves = ensemble.leaf_indices()
        if self._method in _VOTES:
            labels = leaf_labels(ensemble, target)
            places = range(len(target.classes))
            columns = [[_vote(label, place) for label in labels] for place in places]
        else:
            rows = leaf_probabilities(ensemble, target)
            if rows is None:
                raise self._refusal("multipleModelMethod", "of trees without ScoreDistributions")
            columns = [list(column) for column in zip(*rows, strict=True)]
        return [graph.look_up(column, leaves) for column in columns]

    def _weights(self, predictions: str) -> Weights:
        """Return the weights; a segment does not count where its predicate is not true, nor, if
        they are skipped, where it predicts nothing.
        """
        graph, constants = self.scope.graph, self._constants()
        if all(segment.is_always for segment in self.segments) and not self._skips_missing:
            return Weights(constants)
        truths = [segment.truth(self.scope).tensor for segment in self.segments]
        counts = graph.holds(graph.concat(truths))
        zero = graph.number(0.0)
        each = graph.where(counts, graph.row(constants), zero)
        total = graph.row_sum(each)
        if self._skips_missing:
            missing = graph.is_missing(predictions)
            lost = graph.over(graph.row_sum(graph.where(missing, each, zero)), total)
            each = graph.where(missing, zero, each)
            threshold = graph.number(self.segmentation.number("missingThreshold", 1.0))
            total = graph.unless(graph.op("Greater", lost, threshold), graph.row_sum(each))
        return Weights(constants, each, total)


def _vote(label: float, place: int) -> float:
    return label if math.isnan(label) else float(label == place)
