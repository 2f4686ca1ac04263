"""The built-in functions of PMML's <Apply>: arithmetic, comparison, logic, and a few of numbers."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Final

from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import Column, DataType, numeric, unite
from repertory.models.pmml.refusal import NotCompiled

Function = Callable[[Arithmetic, list[Column], str], Column]
Formula = Callable[..., str]

# How types widen in arithmetic.
_WIDTH: Final = (DataType.BOOLEAN, DataType.INTEGER, DataType.FLOAT, DataType.DOUBLE)


def call(graph: Arithmetic, name: str, arguments: list[Column], where: str) -> Column:
    """Return the result of a built-in function, missing where an argument is.

    Raises NotCompiled for a function that is not known here, or takes other arguments.
    """
    if name not in _FUNCTIONS:
        raise NotCompiled(f"{where}: function={name!r} is not understood")
    function, least, most = _FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise NotCompiled(f"{where}: {name!r} is not understood with {len(arguments)} arguments")
    return function(graph, arguments, where)


def is_builtin(name: str) -> bool:
    """Tell whether a function of that name is known here."""
    return name in _FUNCTIONS


def _any_missing(arguments: list[Column]) -> bool:
    return any(argument.missing for argument in arguments)


def _widest(arguments: list[Column]) -> DataType:
    return _WIDTH[max(_WIDTH.index(argument.data_type) for argument in arguments)]


def _arithmetic(formula: Formula) -> Function:
    """A formula whose result is of the widest type of its arguments: float32 stays float32."""

    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        tensors = [numeric(argument, where).tensor for argument in arguments]
        data_type = max(_widest(arguments), DataType.INTEGER, key=_WIDTH.index)
        tensor = reduce(lambda a, b: formula(graph, a, b), tensors)
        if data_type is DataType.FLOAT:
            tensor = graph.float32(tensor)
        return Column(tensor, data_type, missing=_any_missing(arguments))

    return function


def _divide(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
    if _WIDTH.index(_widest([numeric(a, where) for a in arguments])) <= 1:
        raise NotCompiled(f"{where}: the division of integers is not understood")
    return replace(_arithmetic(Arithmetic.over)(graph, arguments, where), missing=True)


def _real(formula: Formula, *, total: bool = True) -> Function:
    """A formula on doubles; unless it is `total` it has no value for some numbers."""

    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        tensors = [numeric(argument, where).tensor for argument in arguments]
        missing = _any_missing(arguments) or not total
        return Column(formula(graph, *tensors), DataType.DOUBLE, missing=missing)

    return function


def _absolute(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
    column = numeric(arguments[0], where)
    data_type = max(column.data_type, DataType.INTEGER, key=_WIDTH.index)
    return Column(graph.op("Abs", column.tensor), data_type, missing=column.missing)


def _rounding(formula: Formula) -> Function:
    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        tensor = formula(graph, numeric(arguments[0], where).tensor)
        return Column(tensor, DataType.INTEGER, missing=_any_missing(arguments))

    return function


def _operator(name: str) -> Formula:
    return lambda graph, *tensors: graph.op(name, *tensors)


def _comparison(operator: str) -> Function:
    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        if any(argument.vocabulary is not None for argument in arguments):
            if operator not in ("Equal", "NotEqual"):
                raise NotCompiled(f"{where}: the order of texts is not understood")
            arguments, _ = unite(graph, arguments, where)
        a, b = (argument.tensor for argument in arguments)
        tensor = graph.compare("Equal" if operator == "NotEqual" else operator, a, b)
        tensor = graph.complement(tensor) if operator == "NotEqual" else tensor
        return Column(tensor, DataType.BOOLEAN, missing=_any_missing(arguments))

    return function


def _logic(formula: Formula) -> Function:
    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        if any(argument.data_type is not DataType.BOOLEAN for argument in arguments):
            raise NotCompiled(f"{where}: logic on what is not boolean is not understood")
        tensor = formula(graph, [argument.tensor for argument in arguments])
        return Column(tensor, DataType.BOOLEAN, missing=_any_missing(arguments))

    return function


def _presence(is_missing: bool) -> Function:
    def function(graph: Arithmetic, arguments: list[Column], _where: str) -> Column:
        missing = graph.double(graph.is_missing(arguments[0].tensor))
        tensor = missing if is_missing else graph.complement(missing)
        return Column(tensor, DataType.BOOLEAN, missing=False)

    return function


def _membership(is_in: bool) -> Function:
    equal = _comparison("Equal")

    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        first, *others = arguments
        truths = [equal(graph, [first, other], where).tensor for other in others]
        tensor = graph.any_of(truths)
        tensor = tensor if is_in else graph.complement(tensor)
        return Column(tensor, DataType.BOOLEAN, missing=_any_missing(arguments))

    return function


def _if(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
    """Where the condition holds the second argument, where it fails the third, if there is one."""
    condition, *branches = arguments
    if condition.data_type is not DataType.BOOLEAN:
        raise NotCompiled(f"{where}: a condition that is not boolean is not understood")
    vocabulary = None
    if any(branch.vocabulary is not None for branch in branches):
        branches, vocabulary = unite(graph, branches, where)
        data_type = DataType.STRING
    else:
        data_type = _widest(branches)
    other = branches[1].tensor if len(branches) == 2 else graph.number(math.nan)
    tensor = graph.where(graph.holds(condition.tensor), branches[0].tensor, other)
    if condition.missing:
        tensor = graph.unless(graph.is_missing(condition.tensor), tensor)
    missing = _any_missing(arguments) or len(branches) == 1
    return Column(tensor, data_type, vocabulary, missing=missing)


def _aggregate(formula: Formula) -> Function:
    """A formula folded over those arguments that are not missing, as PMML wants of aggregates."""

    def fold(graph: Arithmetic, a: str, b: str) -> str:
        both = graph.where(graph.is_missing(b), a, formula(graph, a, b))
        return graph.where(graph.is_missing(a), b, both)

    def function(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
        some = any(argument.missing for argument in arguments)
        result = _arithmetic(fold if some else formula)(graph, arguments, where)
        return replace(result, missing=all(argument.missing for argument in arguments))

    return function


def _average(graph: Arithmetic, arguments: list[Column], where: str) -> Column:
    total = _aggregate(Arithmetic.plus)(graph, arguments, where)
    present = [graph.double(graph.op("Not", graph.is_missing(a.tensor))) for a in arguments]
    mean = graph.over(total.tensor, reduce(graph.plus, present))
    return Column(mean, DataType.DOUBLE, missing=total.missing)


def _power(graph: Arithmetic, a: str, b: str) -> str:
    missing = graph.either([graph.is_missing(a), graph.is_missing(b)])  # though NaN ** 0 is 1
    return graph.unless(missing, graph.op("Pow", a, b))


def _threshold(graph: Arithmetic, a: str, b: str) -> str:
    return graph.compare("Greater", a, b)


def _log10(graph: Arithmetic, a: str) -> str:
    return graph.over(graph.op("Log", a), graph.number(math.log(10.0)))


def _log_one_plus(graph: Arithmetic, a: str) -> str:
    """ln(1 + a), accurate near 0: the rounding error of 1 + a is divided out (Kahan)."""
    one = graph.number(1.0)
    sum_ = graph.plus(one, a)
    rounded = graph.minus(sum_, one)
    exact = graph.op("Equal", rounded, graph.number(0.0))
    corrected = graph.times(graph.op("Log", sum_), graph.over(a, rounded))
    return graph.where(exact, a, corrected)


def _hyperbolic(sign: float) -> Formula:
    def formula(graph: Arithmetic, a: str) -> str:
        minus = graph.times(graph.number(sign), graph.exp(graph.negated(a)))
        return graph.times(graph.number(0.5), graph.plus(graph.exp(a), minus))

    return formula


_MANY: Final = 10_000

# The functions by name, with the least and the greatest number of arguments.
_FUNCTIONS: Final[dict[str, tuple[Function, int, int]]] = {
    "+": (_arithmetic(Arithmetic.plus), 2, 2),
    "-": (_arithmetic(Arithmetic.minus), 2, 2),
    "*": (_arithmetic(Arithmetic.times), 2, 2),
    "/": (_divide, 2, 2),
    "sum": (_aggregate(Arithmetic.plus), 1, _MANY),
    "product": (_aggregate(Arithmetic.times), 1, _MANY),
    "min": (_aggregate(Arithmetic.at_most), 1, _MANY),
    "max": (_aggregate(Arithmetic.at_least), 1, _MANY),
    "avg": (_average, 1, _MANY),
    "pow": (_real(_power, total=False), 2, 2),
    "exp": (_real(_operator("Exp")), 1, 1),
    "ln": (_real(_operator("Log"), total=False), 1, 1),
    "ln1p": (_real(_log_one_plus, total=False), 1, 1),
    "x-ln1p": (_real(_log_one_plus, total=False), 1, 1),
    "log10": (_real(_log10, total=False), 1, 1),
    "sqrt": (_real(_operator("Sqrt"), total=False), 1, 1),
    "sin": (_real(_operator("Sin")), 1, 1),
    "cos": (_real(_operator("Cos")), 1, 1),
    "atan": (_real(Arithmetic.arctan), 1, 1),
    "tanh": (_real(_operator("Tanh")), 1, 1),
    "sinh": (_real(_hyperbolic(-1.0)), 1, 1),
    "cosh": (_real(_hyperbolic(1.0)), 1, 1),
    "stdNormalCDF": (_real(Arithmetic.normal_probability), 1, 1),
    "abs": (_absolute, 1, 1),
    "floor": (_rounding(_operator("Floor")), 1, 1),
    "ceil": (_rounding(_operator("Ceil")), 1, 1),
    "round": (_rounding(Arithmetic.half_up), 1, 1),
    "rint": (_rounding(_operator("Round")), 1, 1),
    "threshold": (_real(_threshold), 2, 2),
    "equal": (_comparison("Equal"), 2, 2),
    "notEqual": (_comparison("NotEqual"), 2, 2),
    "lessThan": (_comparison("Less"), 2, 2),
    "lessOrEqual": (_comparison("LessOrEqual"), 2, 2),
    "greaterThan": (_comparison("Greater"), 2, 2),
    "greaterOrEqual": (_comparison("GreaterOrEqual"), 2, 2),
    "and": (_logic(Arithmetic.all_of), 2, _MANY),
    "or": (_logic(Arithmetic.any_of), 2, _MANY),
    "not": (_logic(lambda graph, truths: graph.complement(truths[0])), 1, 1),
    "isMissing": (_presence(True), 1, 1),
    "isNotMissing": (_presence(False), 1, 1),
    "isIn": (_membership(True), 2, _MANY),
    "isNotIn": (_membership(False), 2, _MANY),
    "if": (_if, 2, 3),
}
