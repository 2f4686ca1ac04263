"""Random trees with missing values, against a plain and slow interpreter of PMML's rules."""

import math
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Score = Callable[..., Any]
Record = Mapping[str, Any]

NUMBERS = (-1.5, 0.0, 0.1, 1.0, 2.0, 2.5, 1e10)
COLOURS = ("red", "green", "blue")
STRATEGIES = ("none", "lastPrediction", "nullPrediction", "defaultChild")


# The interpreter: three-valued truths are True, False and None.


def truth(predicate: ElementTree.Element, record: Record) -> bool | None:
    """Return the truth of a predicate for a record."""
    if predicate.tag in ("True", "False"):
        return predicate.tag == "True"
    if predicate.tag == "CompoundPredicate":
        return joined(predicate.get("booleanOperator"), [truth(p, record) for p in predicate])
    value = record[predicate.get("field", "")]
    operator = predicate.get("operator")
    if operator in ("isMissing", "isNotMissing"):
        return (value is None) == (operator == "isMissing")
    if value is None:
        return None
    if predicate.tag == "SimpleSetPredicate":
        items = (predicate[0].text or "").split()
        found = any(same(value, item) for item in items)
        return found == (predicate.get("booleanOperator") == "isIn")
    return compared(operator, value, predicate.get("value", ""))


def same(value: Any, text: str) -> bool:
    """Tell whether a value is what a text stands for."""
    return bool(value == (text if isinstance(value, str) else float(text)))


def compared(operator: str | None, value: Any, text: str) -> bool:
    """Return the result of a comparison of known values."""
    if operator in ("equal", "notEqual"):
        return same(value, text) == (operator == "equal")
    other = float(text)
    results: dict[str, bool] = {
        "lessThan": value < other,
        "lessOrEqual": value <= other,
        "greaterThan": value > other,
        "greaterOrEqual": value >= other,
    }
    return results[operator or ""]


def joined(operator: str | None, parts: list[bool | None]) -> bool | None:
    """Return the three-valued join of truths."""
    match operator:
        case "and":
            return False if False in parts else None if None in parts else True
        case "or":
            return True if True in parts else None if None in parts else False
        case "xor":
            return None if None in parts else sum(map(bool, parts)) % 2 == 1
    return next((part for part in parts if part is not None), None)


def walk(node: ElementTree.Element, record: Record, tree: ElementTree.Element) -> float | None:
    """Return the prediction of the tree below a node that was taken."""
    strategy = tree.get("missingValueStrategy", "none")
    children = [child for child in node if child.tag == "Node"]
    for child in children:
        taken = truth(child[0], record)
        if taken is None and strategy != "none":
            if strategy == "nullPrediction":
                return None
            if strategy == "lastPrediction":
                return float(node.get("score", ""))
            default = next(c for c in children if c.get("id") == node.get("defaultChild"))
            return walk(default, record, tree)
        if taken:
            return walk(child, record, tree)
    if children and tree.get("noTrueChildStrategy") != "returnLastPrediction":
        return None
    return float(node.get("score", ""))


# Random trees, as text.


def simple(field: str, operator: str, value: object) -> str:
    """Return a comparison."""
    return f'<SimplePredicate field="{field}" operator="{operator}" value="{value}"/>'


def membership(field: str, items: list[object], is_in: bool) -> str:
    """Return a test for a set."""
    operator = "isIn" if is_in else "isNotIn"
    array = f'<Array type="string" n="{len(items)}">{" ".join(map(str, items))}</Array>'
    return f'<SimpleSetPredicate field="{field}" booleanOperator="{operator}">{array}</SimpleSetPredicate>'


ORDERS = ("lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual", "equal", "notEqual")
fields = st.sampled_from(["x", "z"])
leaves = st.one_of(
    st.builds(simple, fields, st.sampled_from(ORDERS), st.sampled_from(NUMBERS)),
    st.builds(simple, st.just("c"), st.sampled_from(ORDERS[4:]), st.sampled_from(COLOURS)),
    st.builds(membership, fields, st.lists(st.sampled_from(NUMBERS), max_size=3), st.booleans()),
    st.builds(
        membership, st.just("c"), st.lists(st.sampled_from(COLOURS), max_size=3), st.booleans()
    ),
    st.builds(
        lambda field, operator: f'<SimplePredicate field="{field}" operator="{operator}"/>',
        st.sampled_from(["x", "z", "c"]),
        st.sampled_from(["isMissing", "isNotMissing"]),
    ),
    st.sampled_from(["<True/>", "<False/>"]),
)
predicates = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda operator, parts: (
            f'<CompoundPredicate booleanOperator="{operator}">{"".join(parts)}</CompoundPredicate>'
        ),
        st.sampled_from(["and", "or", "xor", "surrogate"]),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=4,
)
COMPLEMENTS = {"lessThan": "greaterOrEqual", "greaterThan": "lessOrEqual", "equal": "notEqual"}


@st.composite
def splits(draw: st.DrawFn) -> list[str]:
    """Return the predicates of a node's children: often a value and its complement."""
    if draw(st.booleans()):
        field, number = draw(fields), draw(st.sampled_from(NUMBERS))
        pair = draw(st.sampled_from(sorted(COMPLEMENTS.items())))
        return [simple(field, operator, number) for operator in draw(st.permutations(pair))]
    return draw(st.lists(predicates, min_size=1, max_size=3))


@st.composite
def nodes(draw: st.DrawFn, predicate: str = "<True/>", name: str = "n", depth: int = 0) -> str:
    """Return a node with all below it."""
    score = draw(st.integers(-99, 99)) / 8
    tests = draw(splits()) if depth < 3 and draw(st.booleans()) else []
    children = [draw(nodes(test, f"{name}{i}", depth + 1)) for i, test in enumerate(tests)]
    default = f' defaultChild="{name}{draw(st.integers(0, len(tests) - 1))}"' if tests else ""
    return f'<Node id="{name}" score="{score}"{default}>{predicate}{"".join(children)}</Node>'


trees = st.builds(
    lambda strategy, last, node: (
        f'<TreeModel functionName="regression" missingValueStrategy="{strategy}"'
        f' noTrueChildStrategy="{last}"><MiningSchema/>{node}</TreeModel>'
    ),
    st.sampled_from(STRATEGIES),
    st.sampled_from(["returnNullPrediction", "returnLastPrediction"]),
    nodes(),
)
# A tree that declares what to do about each missing field, so that the records reach the other.
DECLARING = """<Segment weight="0"><True/><TreeModel functionName="regression"
  missingValueStrategy="defaultChild"><MiningSchema/><Node score="0"><True/></Node></TreeModel></Segment>"""


def ensemble(method: str, *members: str) -> str:
    """Return an ensemble of models."""
    segments = "".join(f"<Segment><True/>{member}</Segment>" for member in members)
    return f"""<MiningModel functionName="regression"><MiningSchema/>
      <Segmentation multipleModelMethod="{method}">{segments}{DECLARING}</Segmentation></MiningModel>"""


RECORDS = [
    {"x": x, "z": z, "c": c}
    for x in (None, -1.5, 0.1, 1.0, 1.7, 2.5, 1e10)
    for z in (None, 0.0, 2.0)
    for c in (None, "red", "blue", "other")
]
COLUMNS = {name: [record[name] for record in RECORDS] for name in ("x", "z", "c")}
QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def expected(tree: str) -> list[float | None]:
    """Return what the interpreter answers for all records."""
    element = ElementTree.fromstring(tree)
    root = element[1]
    return [walk(root, r, element) if truth(root[0], r) else None for r in RECORDS]


@QUICK
@given(tree=trees)
def test_a_tree_answers_what_the_interpreter_answers(score: Score, tree: str) -> None:
    assert score(ensemble("weightedSum", tree), **COLUMNS).values == expected(tree)


@QUICK
@given(one=trees, two=trees, three=trees)
def test_a_sum_of_trees_answers_what_the_interpreter_answers(
    score: Score, one: str, two: str, three: str
) -> None:
    parts = zip(expected(one), expected(two), expected(three), strict=True)
    sums = [None if None in part else math.fsum(v for v in part if v is not None) for part in parts]
    assert score(ensemble("sum", one, two, three), **COLUMNS).values == sums
