"""Trees in which a record with missing values ends in several leaves at once.

weightedConfidence and aggregateNodes: each node's result is computed for all records, from the
leaves up, and merged by the truths of the children's predicates.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.predicates import truth
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.tree_nodes import Node, Tree

# Every node costs some ten operators on all records.
_MOST_NODES: Final = 2000
# A confidence that differs from the probability by less was only written with few digits.
_ROUNDING: Final = 5e-3


@dataclass(frozen=True, slots=True)
class _Result:
    """What a node gives for each record: a row of weights by class, and a label."""

    rows: str  # [n, k]
    label: str  # [n, 1]
    leaves: str = ""  # [n, 1], how many leaves were aggregated


@dataclass(frozen=True, slots=True)
class _Choice:
    """Masks of a child: whether it is reached as unknown, or taken as true, by a record."""

    child: Node
    tensor: str  # the truth of its predicate
    unknown: str
    taken: str


def _post_order(root: Node) -> list[Node]:
    order, pending = [], [root]
    while pending:
        node = pending.pop()
        order.append(node)
        pending.extend(node.children)
    if len(order) > _MOST_NODES:
        raise NotCompiled(f"{root.where}: more than {_MOST_NODES} nodes with this strategy")
    return order[::-1]


def _choices(node: Node, graph: Arithmetic) -> tuple[list[_Choice], str]:
    """Return the children in order, and the mask of records that none of them takes."""
    still_open = graph.op("Equal", graph.number(0.0), graph.number(0.0))
    choices = []
    for child in node.children:
        tensor = truth(child.predicate, graph).tensor
        unknown = graph.op("And", still_open, graph.is_missing(tensor))
        taken = graph.op("And", still_open, graph.holds(tensor))
        choices.append(_Choice(child, tensor, unknown, taken))
        still_open = graph.op("And", still_open, graph.op("Not", graph.holds(tensor)))
    return choices, still_open


def weighted(tree: Tree, graph: Arithmetic, target: TargetField) -> Answer:
    """Compile a tree with missingValueStrategy="weightedConfidence".

    As soon as a predicate is unknown, all children that are not false are scored and averaged,
    weighted by their recordCount.
    """
    results: dict[int, _Result] = {}
    for node in _post_order(tree.root):
        if node.children:
            results[id(node)] = _weighted(node, results, tree, graph, target)
        else:
            results[id(node)] = _own(node, graph, target)
    result = _rooted(tree, results[id(tree.root)], graph)
    return Answer(classes=target.classes, label=result.label, probabilities=result.rows)


def _weighted(
    node: Node, results: dict[int, _Result], tree: Tree, graph: Arithmetic, target: TargetField
) -> _Result:
    choices, _ = _choices(node, graph)
    result = _own(node, graph, target) if tree.keeps_last else _nothing(graph, target)
    rows, label = result.rows, result.label
    for choice in reversed(choices):
        below = results[id(choice.child)]
        rows = graph.where(choice.taken, below.rows, rows)
        label = graph.where(choice.taken, below.label, label)
    total, weights = graph.number(0.0), graph.number(0.0)
    for choice in choices:
        count = graph.number(choice.child.record_count)
        weight = graph.where(graph.fails(choice.tensor), graph.number(0.0), count)
        weights = graph.plus(weights, weight)
        part = graph.times(results[id(choice.child)].rows, weight)
        part = graph.where(graph.fails(choice.tensor), graph.number(0.0), part)
        total = graph.plus(total, part)
    mixed = graph.either([choice.unknown for choice in choices])
    average = graph.over(total, weights)
    return _Result(
        rows=graph.where(mixed, average, rows),
        label=graph.where(mixed, graph.first_maximum(average), label),
    )


def aggregated(tree: Tree, graph: Arithmetic, target: TargetField) -> Answer:
    """Compile a tree with missingValueStrategy="aggregateNodes".

    An unknown predicate counts as true, and the children after it are tried as well; the record
    counts of all leaves that are reached are added up by class.
    """
    results: dict[int, _Result] = {}
    for node in _post_order(tree.root):
        if node.children:
            results[id(node)] = _aggregated(node, results, tree, graph, target)
        else:
            results[id(node)] = _leaf(node, graph, target)
    result = _rooted(tree, results[id(tree.root)], graph)
    total = graph.row_sum(result.rows)
    probabilities = graph.over(result.rows, total)
    single = graph.op("Equal", result.leaves, graph.number(1.0))
    label = graph.where(single, result.label, graph.first_maximum(probabilities))
    return Answer(classes=target.classes, label=label, probabilities=probabilities)


def _aggregated(
    node: Node, results: dict[int, _Result], tree: Tree, graph: Arithmetic, target: TargetField
) -> _Result:
    choices, untaken = _choices(node, graph)
    reached = [graph.op("Or", choice.unknown, choice.taken) for choice in choices]
    zero = graph.number(0.0)
    rows = label = leaves = zero
    for choice, mask in zip(choices, reached, strict=True):
        below = results[id(choice.child)]
        rows = graph.plus(rows, graph.where(mask, below.rows, zero))
        label = graph.plus(label, graph.where(mask, below.label, zero))
        leaves = graph.plus(leaves, graph.where(mask, below.leaves, zero))
    if tree.keeps_last:
        own = _leaf(node, graph, target)
        alone = graph.op("And", untaken, graph.op("Not", graph.either(reached)))
        rows = graph.where(alone, own.rows, rows)
        label = graph.where(alone, own.label, label)
        leaves = graph.where(alone, own.leaves, leaves)
    return _Result(rows, label, leaves)


def _rooted(tree: Tree, result: _Result, graph: Arithmetic) -> _Result:
    """Return nothing for records for which the root's own predicate is not true."""
    holds = graph.holds(truth(tree.root.predicate, graph).tensor)
    nothing = graph.number(np.nan)
    return _Result(
        rows=graph.where(holds, result.rows, nothing),
        label=graph.where(holds, result.label, nothing),
        leaves=result.leaves,
    )


def _own(node: Node, graph: Arithmetic, target: TargetField) -> _Result:
    rows = node.probabilities(target)
    if not rows:
        raise NotCompiled(f"{node.where} has no ScoreDistribution, which its strategy needs")
    for share in node.shares():
        own = rows[target.index(share.label, node)]
        if share.confidence is not None and abs(share.confidence - own) > _ROUNDING:
            raise NotCompiled(
                f"{node.where}: a confidence that is not the class's part of the records"
            )
    return _Result(graph.row(rows), graph.number(node.label(target)))


def _leaf(node: Node, graph: Arithmetic, target: TargetField) -> _Result:
    counts = node.counts(target)
    if not counts:
        raise NotCompiled(f"{node.where} has no ScoreDistribution, which its strategy needs")
    return _Result(graph.row(counts), graph.number(node.label(target)), graph.number(1.0))


def _nothing(graph: Arithmetic, target: TargetField) -> _Result:
    nan = float("nan")
    return _Result(graph.row([nan] * len(target.classes)), graph.number(nan))
