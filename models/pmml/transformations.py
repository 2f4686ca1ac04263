"""PMML's expressions: constants, references, normalisations, discretisation, tables, functions."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml import functions
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import (
    Column,
    DataType,
    Vocabulary,
    cast,
    constant_column,
    data_type_of,
    numeric,
    unite,
)
from repertory.models.pmml.intervals import inside, read_interval
from repertory.models.pmml.norms import interpolated, read_norms
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape

TAGS: Final = "Constant FieldRef NormContinuous NormDiscrete Discretize MapValues Apply"

_DERIVED: Final = Shape(
    attributes="name dataType", ignored="displayName optype", children=f"{TAGS} Value Interval"
)
_CONSTANT: Final = Shape(attributes="dataType missing")
_FIELD_REF: Final = Shape(attributes="field mapMissingTo")
_NORM_CONTINUOUS: Final = Shape(attributes="field mapMissingTo outliers", children="LinearNorm")
_NORM_DISCRETE: Final = Shape(attributes="field value method mapMissingTo")
_DISCRETIZE: Final = Shape(
    attributes="field mapMissingTo defaultValue dataType", children="DiscretizeBin"
)
_BIN: Final = Shape(attributes="binValue", children="Interval")
_MAP_VALUES: Final = Shape(
    attributes="mapMissingTo defaultValue outputColumn dataType",
    children="FieldColumnPair InlineTable",
)
_PAIR: Final = Shape(attributes="field column")
_TABLE: Final = Shape(children="row")
_APPLY: Final = Shape(
    attributes="function mapMissingTo defaultValue invalidValueTreatment", children=TAGS
)
_DEFINE: Final = Shape(
    attributes="name dataType", ignored="optype", children=f"ParameterField {TAGS}"
)
_PARAMETER: Final = Shape(attributes="name dataType", ignored="optype displayName")

# Apply has no single missing argument to speak of in these.
_MISSING_IS_AN_ARGUMENT: Final = {"if", "isMissing", "isNotMissing"}


def declare_derived(element: Element, scope: Scope) -> None:
    """Make a <DerivedField> visible in a scope."""
    scope.declare(element.require("name"), lambda: derived_field(element, scope))


def derived_field(element: Element, scope: Scope) -> Column:
    """Compile a <DerivedField>, or what else names a type and holds one expression."""
    _DERIVED.check(element)
    if element.find("Interval"):
        raise NotCompiled(f"{element.where}: <Interval> is not understood in a derived field")
    column = expression(find_expression(element), scope)
    return typed(column, data_type_of(element), scope, element.where)


def typed(column: Column, data_type: DataType, scope: Scope, where: str) -> Column:
    """Return what an expression gives in the type that its field declares."""
    return cast(scope.graph, column, data_type, where)


def find_expression(element: Element) -> Element:
    """Return the expression among an element's children. Raises when there is none known."""
    found = [child for child in element.children if child.tag in _COMPILERS]
    if len(found) != 1:
        raise ModelRejected(f"{element.where} has {len(found) or 'no'} expressions where 1 is due")
    return found[0]


def expression(element: Element, scope: Scope) -> Column:
    """Compile an expression. Raises NotCompiled or ModelRejected."""
    return _COMPILERS[element.tag](element, scope)


def _constant(element: Element, scope: Scope) -> Column:
    _CONSTANT.check(element)
    stated = data_type_of(element) if "dataType" in element.attributes else None
    if element.choice("missing", ("false", "true"), "false") == "true":
        return Column(scope.graph.number(math.nan), stated or DataType.DOUBLE)
    return constant_column(scope.graph, element.text, stated, element.where)


def _field_ref(element: Element, scope: Scope) -> Column:
    _FIELD_REF.check(element)
    column = scope.column(element.require("field"), element)
    return _map_missing(element, column, column, scope)


def _map_missing(element: Element, source: Column, result: Column, scope: Scope) -> Column:
    """Return `result`, or mapMissingTo where `source` is missing."""
    if "mapMissingTo" not in element.attributes:
        return result
    text = element.get("mapMissingTo")
    mapped = constant_column(scope.graph, text, result.data_type, element.where)
    missing = scope.graph.is_missing(source.tensor)
    merged = choose(scope.graph, missing, mapped, result, element.where)
    return replace(merged, missing=result.missing and not source.missing)


def choose(graph: Arithmetic, mask: str, yes: Column, no: Column, where: str) -> Column:
    """Return a column of one type, chosen between two of that type by a mask."""
    vocabulary = no.vocabulary
    if vocabulary is not None:
        (yes, no), vocabulary = unite(graph, [yes, no], where)
    tensor = graph.where(mask, yes.tensor, no.tensor)
    return Column(tensor, no.data_type, vocabulary, missing=yes.missing or no.missing)


def _norm_continuous(element: Element, scope: Scope) -> Column:
    _NORM_CONTINUOUS.check(element)
    source = numeric(scope.column(element.require("field"), element), element.where)
    norms = read_norms(element)
    tensor = interpolated(scope.graph, source.tensor, norms)
    missing = source.missing or norms.outliers == "asMissingValues"
    result = Column(tensor, DataType.DOUBLE, missing=missing)
    return _map_missing(element, source, result, scope)


def _norm_discrete(element: Element, scope: Scope) -> Column:
    _NORM_DISCRETE.check(element)
    element.choice("method", ("indicator",), "indicator")
    source = scope.column(element.require("field"), element)
    number = scope.graph.number(source.code(element.require("value"), element))
    tensor = scope.graph.compare("Equal", source.tensor, number)
    result = Column(tensor, DataType.DOUBLE, missing=source.missing)
    return _map_missing(element, source, result, scope)


def _discretize(element: Element, scope: Scope) -> Column:
    _DISCRETIZE.check(element)
    graph = scope.graph
    source = numeric(scope.column(element.require("field"), element), element.where)
    data_type = data_type_of(element, DataType.STRING)
    result = _default(element, data_type, scope)
    for bin_ in reversed(element.find_all("DiscretizeBin")):
        _BIN.check(bin_)
        value = constant_column(graph, bin_.require("binValue"), data_type, bin_.where)
        mask = inside(graph, source.tensor, read_interval(bin_.need("Interval")))
        result = choose(graph, mask, value, result, bin_.where)
    absent = graph.unless(graph.is_missing(source.tensor), result.tensor)
    result = replace(result, tensor=absent, missing=result.missing or source.missing)
    return _map_missing(element, source, result, scope)


def _default(element: Element, data_type: DataType, scope: Scope) -> Column:
    """Return an element's defaultValue, or a missing value of that type."""
    if "defaultValue" in element.attributes:
        text = element.get("defaultValue")
        return constant_column(scope.graph, text, data_type, element.where)
    vocabulary = Vocabulary([]) if data_type is DataType.STRING else None
    return Column(scope.graph.number(math.nan), data_type, vocabulary)


def _map_values(element: Element, scope: Scope) -> Column:
    _MAP_VALUES.check(element)
    graph = scope.graph
    pairs = [_PAIR.check(pair) for pair in element.find_all("FieldColumnPair")]
    sources = {pair.require("column"): scope.column(pair.require("field"), pair) for pair in pairs}
    data_type = data_type_of(element, DataType.STRING)
    output = element.require("outputColumn")
    result = _default(element, data_type, scope)
    for row in reversed(_TABLE.check(element.need("InlineTable")).find_all("row")):
        cells = {cell.tag.rpartition("}")[2]: cell.text.strip() for cell in row.children}
        if output not in cells or not sources.keys() <= cells.keys():
            raise ModelRejected(f"{row.where} lacks a column that {element.where} names")
        value = constant_column(graph, cells[output], data_type, row.where)
        same = [
            graph.op("Equal", source.tensor, graph.number(source.code(cells[name], row)))
            for name, source in sources.items()
        ]
        mask = same[0] if len(same) == 1 else _all_masks(graph, same)
        result = choose(graph, mask, value, result, row.where)
    masks = [graph.is_missing(source.tensor) for source in sources.values()]
    if not masks:
        raise ModelRejected(f"{element.where} has no <FieldColumnPair>")
    absent = graph.either(masks)
    lost = any(source.missing for source in sources.values())
    result = replace(
        result, tensor=graph.unless(absent, result.tensor), missing=result.missing or lost
    )
    if "mapMissingTo" not in element.attributes:
        return result
    mapped = constant_column(graph, element.get("mapMissingTo"), data_type, element.where)
    return choose(graph, absent, mapped, result, element.where)


def _all_masks(graph: Arithmetic, masks: list[str]) -> str:
    first, *others = masks
    for mask in others:
        first = graph.op("And", first, mask)
    return first


def _apply(element: Element, scope: Scope) -> Column:
    _APPLY.check(element)
    element.choice("invalidValueTreatment", ("returnInvalid", "asMissing"), "returnInvalid")
    name = element.require("function")
    arguments = [expression(child, scope) for child in element.children if child.tag in _COMPILERS]
    if name in scope.context.functions:
        defined = scope.context.functions[name]
        result = _call_defined(defined, arguments, scope, element.where)
    else:
        result = functions.call(scope.graph, name, arguments, element.where)
    if "defaultValue" in element.attributes:
        text = element.get("defaultValue")
        default = constant_column(scope.graph, text, result.data_type, element.where)
        missing = scope.graph.is_missing(result.tensor)
        result = choose(scope.graph, missing, default, result, element.where).known()
    if "mapMissingTo" not in element.attributes:
        return result
    if name in _MISSING_IS_AN_ARGUMENT:
        raise NotCompiled(f"{element.where}: mapMissingTo is not understood for {name!r}")
    missing = scope.graph.either([scope.graph.is_missing(a.tensor) for a in arguments])
    text = element.get("mapMissingTo")
    mapped = constant_column(scope.graph, text, result.data_type, element.where)
    return choose(scope.graph, missing, mapped, result, element.where)


def _call_defined(element: Element, arguments: list[Column], scope: Scope, where: str) -> Column:
    """Compile the body of a <DefineFunction> with its parameters bound to arguments."""
    scope.context.count_call()
    _DEFINE.check(element)
    parameters = [_PARAMETER.check(field) for field in element.find_all("ParameterField")]
    if len(parameters) != len(arguments):
        raise ModelRejected(f"{where}: {element.where} takes {len(parameters)} arguments")
    body = Scope(scope.context)
    for parameter, argument in zip(parameters, arguments, strict=True):
        bound = argument
        if "dataType" in parameter.attributes:
            bound = typed(argument, data_type_of(parameter), scope, parameter.where)
        body.declare(parameter.require("name"), lambda bound=bound: bound)  # type: ignore[misc]
    result = expression(find_expression(element), body)
    if "dataType" in element.attributes:
        return typed(result, data_type_of(element), scope, element.where)
    return result


_COMPILERS: Final[dict[str, Callable[[Element, Scope], Column]]] = {
    "Constant": _constant,
    "FieldRef": _field_ref,
    "NormContinuous": _norm_continuous,
    "NormDiscrete": _norm_discrete,
    "Discretize": _discretize,
    "MapValues": _map_values,
    "Apply": _apply,
}
