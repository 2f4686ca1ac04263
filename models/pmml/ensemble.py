"""Trees as one TreeEnsemble operator of ai.onnx.ml: exact in float64, fast, and one for a forest.

PMML's nodes have any number of children, each with a predicate that is true, false or unknown. Here
they become binary tests. Numbers are compared by "less or equal" alone, which is exact: x < t is
x ≤ the double before t. What a test of one number cannot say is computed before as a column of
truths (1, 0, NaN unknown) and tested against a half.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import helper, numpy_helper

from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import Column
from repertory.models.pmml.graph import INPUT
from repertory.models.pmml.predicates import (
    Comparison,
    Compound,
    Constant,
    Membership,
    Predicate,
    Presence,
    truth,
)
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.tree_nodes import Node, Tree

_LEQ: Final = 0
_EQ: Final = 4
_MEMBER: Final = 6
_SUM: Final = 1

# Columns that are computed for a forest's tests. Each takes 8 bytes a record while it is scored.
_MOST_COLUMNS: Final = 4096

_MOST_MEMBER: Final = 1 << 16

Slot = tuple[list[int], int]


@dataclass(frozen=True, slots=True)
class _Test:
    """A binary test of a column; `swapped` where the predicate is true when the test fails."""

    column: Column
    mode: int
    number: float = 0.0
    members: tuple[float, ...] = ()
    swapped: bool = False


class Ensemble:
    """Builds a TreeEnsemble. `leaves` are the nodes where records end, None for no prediction."""

    def __init__(self, graph: Arithmetic) -> None:
        self._graph = graph
        self.leaves: list[Node | None] = []
        self.tree_of_leaf: list[int] = []  # by leaf
        self._roots: list[int] = []
        self._exits: list[int] = []  # of each test, when true and when false; below 0: a leaf
        self._features: list[int] = []
        self._modes: list[int] = []
        self._numbers: list[float] = []
        self._tracks: list[int] = []  # whether a missing value counts as true
        self._members: list[tuple[float, ...]] = []
        self._columns: dict[str, int] = {}  # computed columns, by tensor

    def add(self, tree: Tree) -> None:
        """Add a tree that is `is_single_path`. Raises NotCompiled when it would grow too large."""
        self._roots.append(-1)
        slot = (self._roots, len(self._roots) - 1)
        outside = Node(tree.root.element, Constant(True), [tree.root])
        pending = self._chain(outside, slot, last=None, on_unknown="nullPrediction")
        while pending:
            node, slot = pending.pop()
            if node.children:
                last = node if tree.keeps_last else None
                pending.extend(self._chain(node, slot, last=last, on_unknown=tree.on_unknown))
            else:
                self._put_leaf(slot, node)

    def total(self, weights: Sequence[float]) -> str:
        """Return the sum over the trees of the weight of the leaf where a record ends, [n, 1]."""
        return self._node(weights, [0] * len(weights), 1)

    def leaf_indices(self) -> str:
        """Return the number of the leaf where a record ends, for each tree, [n, trees]."""
        return self._node(range(len(self.leaves)), self.tree_of_leaf, len(self._roots))

    def _chain(
        self, node: Node, slot: Slot, *, last: Node | None, on_unknown: str
    ) -> list[tuple[Node, Slot]]:
        """Lay out the tests that choose a child of `node`; return the children with their slots."""
        chosen = [c for c in node.children if c.predicate != Constant(False)]
        if on_unknown == "defaultChild" and any(_can_be_unknown(c.predicate) for c in chosen):
            default = _default(node)
            if default not in chosen:
                chosen.append(default)
            if not _is_simple(chosen):
                return self._choice(default, chosen, slot, last)
        placed = []
        for index, child in enumerate(chosen):
            if child.predicate == Constant(True):
                placed.append((child, slot))
                return placed
            after = chosen[index + 1] if index + 2 == len(chosen) else None  # the last child
            closes = after is not None and _are_complements(child.predicate, after.predicate)
            test = self._test(child.predicate)
            unknown_is_true = False
            if test.column.missing and not isinstance(child.predicate, Presence):
                if on_unknown == "defaultChild":
                    unknown_is_true = _default(node) is child
                elif on_unknown != "none" or closes:
                    ends = last if on_unknown == "none" else None
                    ends = node if on_unknown == "lastPrediction" else ends
                    slot = self._divert_missing(test.column, slot, ends)
            taken, slot = self._put_test(test, slot, unknown_is_true=unknown_is_true)
            placed.append((child, taken))
            if after is not None and closes:
                placed.append((after, slot))
                return placed
        self._put_leaf(slot, last)
        return placed

    def _choice(
        self, default: Node, chosen: list[Node], slot: Slot, last: Node | None
    ) -> list[tuple[Node, Slot]]:
        """Choose among children by a computed column that holds the number of the child."""
        graph = self._graph
        instead = graph.number(float(chosen.index(default)))
        choice = graph.number(-1.0)
        for index, child in reversed(list(enumerate(chosen))):
            column = truth(child.predicate, graph)
            choice = graph.where(graph.holds(column.tensor), graph.number(float(index)), choice)
            if column.missing:
                choice = graph.where(graph.is_missing(column.tensor), instead, choice)
        column = Column(choice, column.data_type, missing=False)
        none, slot = self._put_test(_Test(column, _LEQ, -0.5), slot)
        self._put_leaf(none, last)
        placed = []
        for index, child in enumerate(chosen[:-1]):
            taken, slot = self._put_test(_Test(column, _LEQ, index + 0.5), slot)
            placed.append((child, taken))
        return [*placed, (chosen[-1], slot)]

    def _divert_missing(self, column: Column, slot: Slot, leaf: Node | None) -> Slot:
        """Send records that lack the column to a leaf; return where the others go on."""
        present, missing = self._put_test(_Test(column, _LEQ, math.inf), slot)
        self._put_leaf(missing, leaf)
        return present

    def _test(self, predicate: Predicate) -> _Test:
        match predicate:
            case Comparison(column, "Equal" | "NotEqual" as operator, number):
                return _Test(column, _EQ, number, swapped=operator == "NotEqual")
            case Comparison(column, operator, number):
                inclusive = operator in ("LessOrEqual", "Greater")
                bound = number if inclusive else float(np.nextafter(number, -math.inf))
                return _Test(column, _LEQ, bound, swapped=operator.startswith("Greater"))
            case Presence(column, is_missing):
                return _Test(column, _LEQ, math.inf, swapped=is_missing)
            case Membership(column, (number,), is_in):
                return _Test(column, _EQ, number, swapped=not is_in)
            case Membership(column, (_, *_) as numbers, is_in) if _are_indices(numbers):
                return _Test(column, _MEMBER, members=numbers, swapped=not is_in)
            case Compound() | Membership() | Constant():
                return _Test(truth(predicate, self._graph), _LEQ, 0.5, swapped=True)

    def _put_test(
        self, test: _Test, slot: Slot, *, unknown_is_true: bool = False
    ) -> tuple[Slot, Slot]:
        """Put a test into a slot; return the slots where its predicate is true, and where not."""
        array, place = slot
        number = len(self._features)
        array[place] = number
        self._features.append(self._feature(test.column))
        self._modes.append(test.mode)
        self._numbers.append(test.number)
        self._members.append(test.members)
        presence = test.number == math.inf and test.mode == _LEQ
        tracks = test.column.missing and not presence and unknown_is_true != test.swapped
        self._tracks.append(int(tracks))
        self._exits += (-1, -1)
        yes, no = (self._exits, 2 * number), (self._exits, 2 * number + 1)
        return (no, yes) if test.swapped else (yes, no)

    def _put_leaf(self, slot: Slot, leaf: Node | None) -> None:
        array, place = slot
        array[place] = -1 - len(self.leaves)
        self.leaves.append(leaf)
        self.tree_of_leaf.append(len(self._roots) - 1)

    def _feature(self, column: Column) -> int:
        """Return the place of a column in the matrix that the ensemble reads."""
        index = self._graph.feature_index(column.tensor)
        if index is not None:
            return index
        place = self._columns.setdefault(column.tensor, len(self._columns))
        if place >= _MOST_COLUMNS:
            raise NotCompiled(f"its trees test more than {_MOST_COLUMNS} computed columns")
        return self._graph.width + place

    def _node(self, weights: Sequence[float], targets: Sequence[int], count: int) -> str:
        roots = [self._root(root) for root in self._roots]
        exits = np.array(self._exits, np.int64).reshape(-1, 2)
        is_leaf = (exits < 0).astype(np.int64)
        ids = np.where(exits < 0, -1 - exits, exits)
        members = [number for group in self._members if group for number in (*group, math.nan)]
        attributes = {
            "n_targets": count,
            "aggregate_function": _SUM,
            "post_transform": 0,
            "tree_roots": roots,
            "nodes_featureids": self._features,
            "nodes_modes": numpy_helper.from_array(np.array(self._modes, np.uint8)),
            "nodes_splits": numpy_helper.from_array(np.array(self._numbers, np.float64)),
            "nodes_missing_value_tracks_true": self._tracks,
            "nodes_truenodeids": ids[:, 0].tolist(),
            "nodes_trueleafs": is_leaf[:, 0].tolist(),
            "nodes_falsenodeids": ids[:, 1].tolist(),
            "nodes_falseleafs": is_leaf[:, 1].tolist(),
            "leaf_targetids": list(targets),
            "leaf_weights": numpy_helper.from_array(np.array(weights, np.float64)),
        }
        if members:
            attributes["membership_values"] = numpy_helper.from_array(np.array(members))
        name = self._graph.fresh()
        node = helper.make_node(
            "TreeEnsemble", [self._matrix()], [name], domain="ai.onnx.ml", **attributes
        )
        return self._graph.add(node)

    def _root(self, root: int) -> int:
        """Return the test that a tree starts with; a tree of one leaf gets one that decides nothing."""
        if root >= 0:
            return root
        self._features.append(0)
        self._modes.append(_LEQ)
        self._numbers.append(0.0)
        self._members.append(())
        self._tracks.append(0)
        self._exits += (root, root)
        return len(self._features) - 1

    def _matrix(self) -> str:
        return self._graph.concat([INPUT, *self._columns]) if self._columns else INPUT


def _are_indices(numbers: tuple[float, ...]) -> bool:
    """Tell whether ONNX Runtime can test for these, which it does for small integers alone."""
    return all(number.is_integer() and 0 <= number < _MOST_MEMBER for number in numbers)


def _default(node: Node) -> Node:
    child = node.default_child
    if child is None:
        raise NotCompiled(f"{node.where} has no defaultChild, though missingValueStrategy needs it")
    return child


def _is_simple(children: list[Node]) -> bool:
    """Tell whether one test chooses among children, missing values being on one of its sides."""
    if len(children) != 2:
        return False
    first, second = (child.predicate for child in children)
    return second == Constant(True) or _are_complements(first, second)


def _can_be_unknown(predicate: Predicate) -> bool:
    match predicate:
        case Constant() | Presence():
            return False
        case Comparison(column) | Membership(column):
            return column.missing
        case Compound(_, parts):
            return any(map(_can_be_unknown, parts))


_OPPOSITES: Final = {
    frozenset(("LessOrEqual", "Greater")),
    frozenset(("Less", "GreaterOrEqual")),
    frozenset(("Equal", "NotEqual")),
}


def _are_complements(a: Predicate, b: Predicate) -> bool:
    """Tell whether, of two predicates that are known, one is true where the other is false."""
    match a, b:
        case Comparison(x, f, s), Comparison(y, g, t):
            return x.tensor == y.tensor and s == t and frozenset((f, g)) in _OPPOSITES
        case Membership(x, s, f), Membership(y, t, g):
            return x.tensor == y.tensor and set(s) == set(t) and f != g
    return False
