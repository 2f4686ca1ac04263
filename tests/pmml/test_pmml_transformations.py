"""Derived fields: every expression, its missing values, and the built-in functions."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

# A model that answers the derived field `d`; it says what to do where that is missing.
ECHO = """<RegressionModel functionName="regression">
  <MiningSchema/><Targets><Target><TargetValue defaultValue="-77"/></Target></Targets>
  <RegressionTable intercept="0"><NumericPredictor name="d" coefficient="1"/></RegressionTable>
</RegressionModel>"""
MISSING = -77.0
# An unused test for missing, by which the document declares that x, z and c may be missing.
DECLARING = "".join(
    f"""<DerivedField name="m{name}" optype="categorical" dataType="boolean">
    <Apply function="isMissing"><FieldRef field="{name}"/></Apply></DerivedField>"""
    for name in "xzc"
)


def derived(body: str, data_type: str = "double", name: str = "d") -> str:
    return f'<DerivedField name="{name}" optype="continuous" dataType="{data_type}">{body}</DerivedField>'


def echo(score: Score, transformations: str, **columns: Sequence[Any]) -> list[float | None]:
    declared = "".join(DECLARING.split("</DerivedField>")[:0])
    for name in columns:
        part = DECLARING.replace("</DerivedField>", "</DerivedField>|").split("|")[
            "xzc".index(name)
        ]
        declared += part
    values: list[float | None] = score(
        ECHO, transformations=declared + transformations, **columns
    ).values
    return values


def constant(value: object, data_type: str = "double") -> str:
    return f'<Constant dataType="{data_type}">{value}</Constant>'


X, Z, C = (f'<FieldRef field="{name}"/>' for name in "xzc")


def apply(function: str, *arguments: str, **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<Apply function="{function}"{more}>{"".join(arguments)}</Apply>'


def test_references_and_constants(score: Score) -> None:
    assert echo(score, derived(X), x=[1.5, None]) == [1.5, MISSING]
    assert echo(score, derived('<FieldRef field="x" mapMissingTo="4"/>'), x=[1.5, None]) == [1.5, 4]
    assert echo(score, derived(constant(2.5)), x=[1.0]) == [2.5]
    assert echo(score, derived('<Constant missing="true"/>'), x=[1.0]) == [MISSING]


def test_fields_are_derived_from_each_other_whatever_their_order(score: Score) -> None:
    fields = derived('<FieldRef field="e"/>') + derived(apply("+", X, constant(1)), name="e")
    assert echo(score, fields, x=[1.0]) == [2.0]


def test_a_float_field_is_rounded_to_float32(score: Score) -> None:
    assert echo(score, derived(X, "float"), x=[0.1]) == [
        pytest.approx(0.10000000149011612, rel=1e-15)
    ]


NORM = '<LinearNorm orig="0" norm="0"/><LinearNorm orig="2" norm="10"/><LinearNorm orig="4" norm="11"/>'


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", [-5, 0, 5, 10, 10.5, 12, MISSING]),
        ('outliers="asIs" mapMissingTo="0.5"', [-5, 0, 5, 10, 10.5, 12, 0.5]),
        ('outliers="asMissingValues"', [MISSING, 0, 5, 10, 10.5, MISSING, MISSING]),
        ('outliers="asExtremeValues"', [0, 0, 5, 10, 10.5, 11, MISSING]),
    ],
)
def test_norm_continuous(score: Score, attributes: str, expected: list[float]) -> None:
    field = derived(f'<NormContinuous field="x" {attributes}>{NORM}</NormContinuous>')
    assert echo(score, field, x=[-1, 0, 1, 2, 3, 6, None]) == pytest.approx(expected)


def test_norm_discrete(score: Score) -> None:
    field = derived('<NormDiscrete field="c" value="red"/>')
    assert echo(score, field, c=["red", "blue", None]) == [1, 0, MISSING]
    field = derived('<NormDiscrete field="c" value="red" mapMissingTo="0.5"/>')
    assert echo(score, field, c=["red", "blue", None]) == [1, 0, 0.5]


def bin_(value: object, closure: str, low: float | None, high: float | None) -> str:
    margins = "" if low is None else f' leftMargin="{low}"'
    margins += "" if high is None else f' rightMargin="{high}"'
    return f'<DiscretizeBin binValue="{value}"><Interval closure="{closure}"{margins}/></DiscretizeBin>'


BINS = bin_(1, "openOpen", None, 0) + bin_(2, "closedOpen", 0, 1) + bin_(3, "openClosed", 1, 2)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", [1, 2, MISSING, 3, MISSING, MISSING]),
        ('defaultValue="9"', [1, 2, 9, 3, 9, MISSING]),
        ('defaultValue="9" mapMissingTo="8"', [1, 2, 9, 3, 9, 8]),
    ],
)
def test_discretize(score: Score, attributes: str, expected: list[float]) -> None:
    field = derived(f'<Discretize field="x" dataType="double" {attributes}>{BINS}</Discretize>')
    assert echo(score, field, x=[-1, 0, 1, 2, 3, None]) == expected


def test_discretized_texts_are_compared(score: Score) -> None:
    bins = BINS
    for number, text in (("1", "low"), ("2", "mid"), ("3", "mid")):
        bins = bins.replace(f'binValue="{number}"', f'binValue="{text}"')
    steps = derived(f'<Discretize field="x" defaultValue="else">{bins}</Discretize>', "string", "s")
    field = derived('<NormDiscrete field="s" value="mid"/>')
    assert echo(score, steps + field, x=[-1.0, 0.5, 2.0, 7.0]) == [0, 1, 1, 0]


def table(*rows: dict[str, object]) -> str:
    inner = "".join(
        "<row>" + "".join(f"<{k}>{v}</{k}>" for k, v in row.items()) + "</row>" for row in rows
    )
    return f"<InlineTable>{inner}</InlineTable>"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", [10, 20, MISSING, MISSING]),
        ('defaultValue="5"', [10, 20, 5, MISSING]),
        ('defaultValue="5" mapMissingTo="6"', [10, 20, 5, 6]),
    ],
)
def test_map_values(score: Score, attributes: str, expected: list[float]) -> None:
    rows = table({"in": "red", "out": 10}, {"in": "blue", "out": 20})
    field = derived(
        f"""<MapValues outputColumn="out" dataType="double" {attributes}>
        <FieldColumnPair field="c" column="in"/>{rows}</MapValues>"""
    )
    assert echo(score, field, c=["red", "blue", "green", None]) == expected


def test_map_values_of_two_columns(score: Score) -> None:
    rows = table({"a": "red", "b": 1, "out": 10}, {"a": "red", "b": 2, "out": 20})
    field = derived(
        f"""<MapValues outputColumn="out" dataType="double" defaultValue="0">
        <FieldColumnPair field="c" column="a"/><FieldColumnPair field="x" column="b"/>{rows}</MapValues>"""
    )
    assert echo(score, field, c=["red", "red", "blue"], x=[1.0, 2.0, 1.0]) == [10, 20, 0]


XS = [-2.5, -0.5, 0.25, 1.0, 2.5, 7.0]
ONE_ARGUMENT: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda x: math.floor(x + 0.5),
    "rint": round,
    "sin": math.sin,
    "cos": math.cos,
    "atan": math.atan,
    "tanh": math.tanh,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "stdNormalCDF": NormalDist().cdf,
}


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_functions_of_one_number(score: Score, name: str) -> None:
    expected = [ONE_ARGUMENT[name](x) for x in XS]
    assert echo(score, derived(apply(name, X)), x=XS) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(
    ("name", "function"),
    [("ln", math.log), ("log10", math.log10), ("sqrt", math.sqrt), ("ln1p", math.log1p)],
)
def test_functions_without_a_value_for_some_numbers(
    score: Score, name: str, function: Callable[[float], float]
) -> None:
    xs = [1e-9, 0.5, 1.0, 30.0]
    expected = [*map(function, xs), MISSING]
    assert echo(score, derived(apply(name, X)), x=[*xs, -3.0]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("+", lambda x, z: x + z),
        ("-", lambda x, z: x - z),
        ("*", lambda x, z: x * z),
        ("/", lambda x, z: x / z),
        ("pow", lambda x, z: x**z),
        ("min", min),
        ("max", max),
        ("sum", lambda x, z: x + z),
        ("product", lambda x, z: x * z),
        ("avg", lambda x, z: (x + z) / 2),
        ("threshold", lambda x, z: float(x > z)),
    ],
)
def test_functions_of_two_numbers(
    score: Score, name: str, function: Callable[[float, float], float]
) -> None:
    xs, zs = [0.5, 4.0, 7.25], [2.0, 4.0, -1.0]
    expected = [function(x, z) for x, z in zip(xs, zs, strict=True)]
    assert echo(score, derived(apply(name, X, Z)), x=xs, z=zs) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("+", [MISSING, MISSING]), ("pow", [MISSING, MISSING]), ("sum", [3, 4]), ("min", [3, 4]),
     ("avg", [3, 4]), ("equal", [MISSING, MISSING])],
)  # fmt: skip
def test_a_missing_argument(score: Score, name: str, expected: list[float]) -> None:
    assert echo(score, derived(apply(name, X, Z)), x=[3.0, None], z=[None, 4.0]) == expected


def test_what_stands_for_missing_arguments_and_results(score: Score) -> None:
    mapped = derived(apply("+", X, Z, mapMissingTo="5"))
    assert echo(score, mapped, x=[1.0, None], z=[1.0, 1.0]) == [2, 5]
    default = derived(apply("ln", X, defaultValue="6"))
    assert echo(score, default, x=[1.0, -1.0, None]) == [0, 6, 6]


COMPARISONS = {
    "equal": [0, 1, 0], "notEqual": [1, 0, 1], "lessThan": [1, 0, 0],
    "lessOrEqual": [1, 1, 0], "greaterThan": [0, 0, 1], "greaterOrEqual": [0, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(score: Score, name: str) -> None:
    field = derived(apply("if", apply(name, X, Z), constant(1), constant(0)))
    assert echo(score, field, x=[1.0, 2.0, 3.0], z=[2.0] * 3) == COMPARISONS[name]


def test_logic_and_conditions(score: Score) -> None:
    low = apply("lessThan", X, constant(1))
    high = apply("greaterThan", Z, constant(1))
    for name, expected in (("and", [1, 0, 0]), ("or", [1, 1, 0])):
        field = derived(apply("if", apply(name, low, high), constant(1), constant(0)))
        assert echo(score, field, x=[0.0, 0.0, 2.0], z=[2.0, 0.0, 0.0]) == expected
    field = derived(apply("if", apply("not", low), X))
    assert echo(score, field, x=[0.0, 2.0, None]) == [MISSING, 2, MISSING]


def test_tests_for_missing(score: Score) -> None:
    field = derived(apply("if", apply("isMissing", X), constant(-1), X))
    assert echo(score, field, x=[4.0, None]) == [4, -1]
    field = derived(apply("if", apply("isNotMissing", X), X, constant(-1)))
    assert echo(score, field, x=[4.0, None]) == [4, -1]


def test_membership_of_texts_and_numbers(score: Score) -> None:
    texts = [constant(name, "string") for name in ("red", "blue")]
    field = derived(apply("if", apply("isIn", C, *texts), constant(1), constant(0)))
    assert echo(score, field, c=["red", "green", "blue"]) == [1, 0, 1]
    field = derived(
        apply("if", apply("isNotIn", X, constant(1), constant(2)), constant(1), constant(0))
    )
    assert echo(score, field, x=[1.0, 1.5, 2.0]) == [0, 1, 0]


def test_conditions_choose_among_texts(score: Score) -> None:
    chosen = apply("if", apply("lessThan", X, constant(1)), constant("low", "string"), C)
    fields = derived(chosen, "string", "s") + derived('<NormDiscrete field="s" value="low"/>')
    assert echo(score, fields, x=[0.0, 5.0, 5.0], c=["high", "low", "high"]) == [1, 1, 0]


def test_functions_defined_in_the_document(score: Score) -> None:
    define = f"""<DefineFunction name="scaled" optype="continuous" dataType="double">
      <ParameterField name="value" dataType="double"/><ParameterField name="by"/>
      {apply("*", '<FieldRef field="value"/>', '<FieldRef field="by"/>')}</DefineFunction>"""
    fields = define + derived(apply("scaled", apply("+", X, constant(1)), Z))
    assert echo(score, fields, x=[1.0, 2.0], z=[10.0, 3.0]) == [20, 9]


def test_float32_arithmetic_stays_float32(score: Score) -> None:
    import numpy as np

    parts = derived(X, "float", "f") + derived(Z, "float", "g")
    field = derived(apply("*", '<FieldRef field="f"/>', '<FieldRef field="g"/>'))
    expected = float(np.float32(0.1) * np.float32(0.7))
    assert echo(score, parts + field, x=[0.1], z=[0.7]) == [expected]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (apply("summon", X), "function='summon'"),
        (apply("exp", X, X), "'exp' is not understood with 2 arguments"),
        (apply("/", constant(1, "integer"), constant(2, "integer")), "division of integers"),
        (apply("lessThan", C, C), "order of texts"),
        (apply("+", X, C), "a text stands where a number"),
        (apply("uppercase", C), "'uppercase'"),
        (apply("if", X, X, X), "not boolean"),
        (apply("+", X, X, invalidValueTreatment="asIs"), "invalidValueTreatment"),
        ('<NormDiscrete field="c" value="a" method="thermometer"/>', "thermometer"),
        ('<FieldRef field="x" tint="red"/>', "tint"),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, body: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        echo(score, derived(body), x=[1.0], c=["a"])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (derived('<FieldRef field="w"/>'), "no field 'w'"),
        (
            derived('<FieldRef field="e"/>') + derived('<FieldRef field="d"/>', name="e"),
            "depends on itself",
        ),
        (derived(""), "no expressions where 1 is due"),
        (derived('<NormContinuous field="x"/>'), "fewer than 2"),
        (derived(constant("much")), "'much' is not a number"),
    ],
)
def test_what_is_wrong_is_rejected_by_name(score: Score, fields: str, reason: str) -> None:
    with pytest.raises(ModelRejected, match=reason):
        echo(score, fields, x=[1.0])


def test_expressions_nested_without_end_are_rejected(score: Score) -> None:
    body = '<Apply function="abs">' * 1500 + X + "</Apply>" * 1500
    with pytest.raises(ModelRejected, match="too deeply"):
        echo(score, derived(body), x=[1.0])


def test_functions_that_call_each_other_twice_over_are_rejected(score: Score) -> None:
    fields = "".join(
        f"""<DefineFunction name="f{i}" optype="continuous" dataType="double">
        <ParameterField name="v"/>{apply("+", *[apply(f"f{i + 1}", '<FieldRef field="v"/>')] * 2)}
        </DefineFunction>"""
        for i in range(40)
    )
    last = '<DefineFunction name="f40" optype="continuous" dataType="double"><ParameterField name="v"/><FieldRef field="v"/></DefineFunction>'
    with pytest.raises(ModelRejected, match="expand to more than"):
        echo(score, fields + last + derived(apply("f0", X)), x=[1.0])
