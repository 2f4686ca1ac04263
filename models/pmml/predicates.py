"""PMML's predicates: read strictly, compiled to a column of truths."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import Column, DataType
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape


@dataclass(frozen=True, slots=True)
class Constant:
    """<True/> or <False/>."""

    truth: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column against a number: `operator` is ONNX's name, or NotEqual."""

    column: Column
    operator: str
    number: float


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a column is missing, or not."""

    column: Column
    is_missing: bool


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a column is in a set of numbers, or not."""

    column: Column
    numbers: tuple[float, ...]
    is_in: bool


@dataclass(frozen=True, slots=True)
class Compound:
    """Predicates joined by and, or, xor or surrogate."""

    operator: str
    parts: "tuple[Predicate, ...]"


Predicate = Constant | Comparison | Presence | Membership | Compound

TAGS: Final = "True False SimplePredicate SimpleSetPredicate CompoundPredicate"

_COMPARISONS: Final = {
    "equal": "Equal",
    "notEqual": "NotEqual",
    "lessThan": "Less",
    "lessOrEqual": "LessOrEqual",
    "greaterThan": "Greater",
    "greaterOrEqual": "GreaterOrEqual",
}
_PRESENCES: Final = {"isMissing": True, "isNotMissing": False}

_CONSTANT: Final = Shape()
_SIMPLE: Final = Shape(attributes="field operator value")
_SET: Final = Shape(attributes="field booleanOperator", children="Array")
_ARRAY: Final = Shape(attributes="type", ignored="n")
_COMPOUND: Final = Shape(attributes="booleanOperator", children=TAGS)


def find_predicate(element: Element) -> Element:
    """Return the predicate among an element's children. Raises ModelRejected when there is none."""
    for child in element.children:
        if child.tag in _READERS:
            return child
    raise ModelRejected(f"{element.where} has no predicate")


def read_predicate(element: Element, scope: Scope) -> Predicate:
    """Read a predicate. Raises NotCompiled or ModelRejected."""
    return _READERS[element.tag](element, scope)


def _read_constant(element: Element, _scope: Scope) -> Predicate:
    _CONSTANT.check(element)
    return Constant(element.tag == "True")


def _read_simple(element: Element, scope: Scope) -> Predicate:
    _SIMPLE.check(element)
    operator = element.require("operator")
    column = scope.column(element.require("field"), element)
    if operator in _PRESENCES:
        return Presence(column, _PRESENCES[operator])
    if operator not in _COMPARISONS:
        raise NotCompiled(f"{element.where}: operator={operator!r} is not understood")
    if column.vocabulary is not None and operator not in ("equal", "notEqual"):
        raise NotCompiled(f"{element.where}: the order of texts is not understood")
    number = column.code(element.require("value"), element)
    return Comparison(column, _COMPARISONS[operator], number)


def _read_set(element: Element, scope: Scope) -> Predicate:
    _SET.check(element)
    operator = element.choice("booleanOperator", ("isIn", "isNotIn"), "")
    column = scope.column(element.require("field"), element)
    texts = read_array(element.need("Array"))
    numbers = dict.fromkeys(column.code(text, element) for text in texts)
    return Membership(column, tuple(numbers), operator == "isIn")


def _read_compound(element: Element, scope: Scope) -> Predicate:
    _COMPOUND.check(element)
    operator = element.choice("booleanOperator", _JOINS, "")
    parts = tuple(
        read_predicate(child, scope) for child in element.children if child.tag in _READERS
    )
    if not parts:
        raise ModelRejected(f"{element.where} joins no predicates")
    return Compound(operator, parts)


_READERS: Final[dict[str, Callable[[Element, Scope], Predicate]]] = {
    "True": _read_constant,
    "False": _read_constant,
    "SimplePredicate": _read_simple,
    "SimpleSetPredicate": _read_set,
    "CompoundPredicate": _read_compound,
}

# A quoted text, in which \" is a quote, or a run of other characters without spaces.
_ITEM: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)')


def read_array(element: Element) -> list[str]:
    """Return the items of an <Array>."""
    _ARRAY.check(element)
    element.choice("type", ("int", "real", "string"), "")
    items = [
        re.sub(r'\\(["\\])', r"\1", match[1]) if match[2] is None else match[2]
        for match in _ITEM.finditer(element.text)
    ]
    if "n" in element.attributes and int(element.number("n")) != len(items):
        raise ModelRejected(f"{element.where}: n={element.get('n')}, but it has {len(items)} items")
    return items


def truth(predicate: Predicate, graph: Arithmetic) -> Column:
    """Return the column of a predicate's truths, NaN where it is unknown."""
    match predicate:
        case Constant(value):
            return Column(graph.number(float(value)), DataType.BOOLEAN, missing=False)
        case Presence(column, is_missing):
            missing = graph.double(graph.is_missing(column.tensor))
            tensor = missing if is_missing else graph.complement(missing)
            return Column(tensor, DataType.BOOLEAN, missing=False)
        case Compound(operator, parts):
            columns = [truth(part, graph) for part in parts]
            tensor = _JOINS[operator](graph, [column.tensor for column in columns])
            return Column(tensor, DataType.BOOLEAN, missing=any(c.missing for c in columns))
        case Comparison(column, operator, number):
            tensor = _compared(graph, column, operator, number)
            return Column(tensor, DataType.BOOLEAN, missing=column.missing)
        case Membership(column, numbers, is_in):
            tensor = _contained(graph, column, numbers)
            tensor = tensor if is_in else graph.complement(tensor)
            return Column(tensor, DataType.BOOLEAN, missing=column.missing)


def _compared(graph: Arithmetic, column: Column, operator: str, number: float) -> str:
    if operator == "NotEqual":
        return graph.complement(_compared(graph, column, "Equal", number))
    return graph.compare(operator, column.tensor, graph.number(number))


def _contained(graph: Arithmetic, column: Column, numbers: Sequence[float]) -> str:
    if not numbers:
        return graph.unless(graph.is_missing(column.tensor), graph.number(0.0))
    same = graph.double(graph.op("Equal", column.tensor, graph.row(numbers)))
    found = graph.op("ReduceMax", same, graph.integers([1]), keepdims=1)
    return graph.unless(graph.is_missing(column.tensor), found)


_JOINS: Final[dict[str, Callable[[Arithmetic, Sequence[str]], str]]] = {
    "and": Arithmetic.all_of,
    "or": Arithmetic.any_of,
    "xor": Arithmetic.odd_of,
    "surrogate": Arithmetic.first_known,
}
