"""TreeModel: strategies for missing values, and the answer of a single tree."""

from typing import Final

import numpy as np

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.ensemble import Ensemble
from repertory.models.pmml.model_element import DOCUMENTATION, FRAME, is_classification, is_float
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.tree_nodes import SINGLE_PATH, Tree, read_nodes
from repertory.models.pmml.tree_spreading import aggregated, weighted
from repertory.models.pmml.xml import Element, Shape

_TREE: Final = Shape(
    attributes="functionName isScorable missingValueStrategy noTrueChildStrategy x-mathContext"
    " mathContext missingValuePenalty",
    ignored=f"{DOCUMENTATION} splitCharacteristic",
    children=f"{FRAME} Node",
)
_SPREADING: Final = ("weightedConfidence", "aggregateNodes")


def read_tree(element: Element, scope: Scope) -> Tree:
    """Read a <TreeModel>. Raises NotCompiled or ModelRejected."""
    _TREE.check(element)
    element.number("missingValuePenalty", 1.0)  # weighs only confidences, which are not compiled
    last = element.choice(
        "noTrueChildStrategy",
        ("returnNullPrediction", "returnLastPrediction"),
        "returnNullPrediction",
    )
    return Tree(
        root=read_nodes(element.need("Node"), scope),
        on_unknown=element.choice("missingValueStrategy", SINGLE_PATH + _SPREADING, "none"),
        keeps_last=last == "returnLastPrediction",
        is_float=is_float(element),
    )


def tree_model(element: Element, scope: Scope) -> Answer:
    """Compile a <TreeModel>."""
    tree = read_tree(element, scope)
    if not is_classification(element):
        return Answer(value=_value(tree, scope))
    assert scope.target is not None
    if tree.on_unknown == "weightedConfidence":
        return weighted(tree, scope.graph, scope.target)
    if tree.on_unknown == "aggregateNodes":
        return aggregated(tree, scope.graph, scope.target)
    return _classified(tree, scope, scope.target)


def _value(tree: Tree, scope: Scope) -> str:
    if not tree.is_single_path:
        raise NotCompiled(
            f"{tree.root.where}: missingValueStrategy={tree.on_unknown!r} is not understood in"
            " regression"
        )
    ensemble = Ensemble(scope.graph)
    ensemble.add(tree)
    return ensemble.total(leaf_values(ensemble, is_float=tree.is_float))


def leaf_values(ensemble: Ensemble, *, is_float: bool) -> list[float]:
    """Return the number that each leaf predicts, NaN for none."""
    values = [leaf.value() if leaf is not None else np.nan for leaf in ensemble.leaves]
    return [float(np.float32(value)) for value in values] if is_float else values


def _classified(tree: Tree, scope: Scope, target: TargetField) -> Answer:
    graph = scope.graph
    ensemble = Ensemble(graph)
    ensemble.add(tree)
    leaf = ensemble.leaf_indices()
    label = graph.look_up(leaf_labels(ensemble, target), leaf)
    rows = leaf_probabilities(ensemble, target)
    probabilities = graph.look_up(rows, leaf) if rows is not None else None
    return Answer(classes=target.classes, label=label, probabilities=probabilities)


def leaf_labels(ensemble: Ensemble, target: TargetField) -> list[float]:
    """Return the index of the class that each leaf predicts, NaN for none."""
    return [leaf.label(target) if leaf is not None else np.nan for leaf in ensemble.leaves]


def leaf_probabilities(ensemble: Ensemble, target: TargetField) -> list[list[float]] | None:
    """Return each leaf's probabilities, NaN where it predicts nothing, None if some give none."""
    nothing = [np.nan] * len(target.classes)
    rows = [leaf.probabilities(target) if leaf is not None else nothing for leaf in ensemble.leaves]
    return rows if all(rows) else None
