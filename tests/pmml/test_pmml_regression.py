"""RegressionModel: terms, and the normalisations of numbers and of probabilities."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

LINKS: dict[str, Callable[[float], float]] = {
    "logit": lambda y: 1 / (1 + math.exp(-y)),
    "probit": NormalDist().cdf,
    "cloglog": lambda y: 1 - math.exp(-math.exp(y)),
    "loglog": lambda y: math.exp(-math.exp(-y)),
    "cauchit": lambda y: 0.5 + math.atan(y) / math.pi,
}
XS = [-40.0, -3.0, -0.7, 0.0, 0.4, 1.0, 2.9, 30.0]


def regression(table: str, attributes: str = "") -> str:
    return f"""<RegressionModel functionName="regression" {attributes}><MiningSchema/>
      {table}</RegressionModel>"""


def classifier(attributes: str, *predictors: tuple[str, float, float]) -> str:
    """A classifier whose tables are (class, intercept, coefficient of x)."""
    tables = "".join(
        f'<RegressionTable targetCategory="{name}" intercept="{a}">'
        f'<NumericPredictor name="x" coefficient="{b}"/></RegressionTable>'
        for name, a, b in predictors
    )
    return f"""<RegressionModel functionName="classification" {attributes}><MiningSchema/>
      {tables}</RegressionModel>"""


def ordinal(*names: str) -> dict[str, str]:
    values = "".join(f'<Value value="{name}"/>' for name in names)
    return {
        "fields": f'<DataField name="y" optype="ordinal" dataType="string">{values}</DataField>',
        "mining": '<MiningField name="y" usageType="target"/>',
    }


def test_numeric_categorical_and_product_terms_add_up(score: Score) -> None:
    table = """<RegressionTable intercept="0.5">
      <NumericPredictor name="x" coefficient="2"/>
      <NumericPredictor name="x" exponent="3" coefficient="-1"/>
      <CategoricalPredictor name="c" value="red" coefficient="10"/>
      <CategoricalPredictor name="c" value="blue" coefficient="20"/>
      <PredictorTerm coefficient="0.25"><FieldRef field="x"/><FieldRef field="z"/></PredictorTerm>
    </RegressionTable>"""
    answers = score(regression(table), x=[2.0, 3.0], z=[8.0, 4.0], c=["red", "green"])
    assert answers.values == [0.5 + 4 - 8 + 10 + 4, 0.5 + 6 - 27 + 3]


def test_an_intercept_alone_is_the_answer(score: Score) -> None:
    assert score(regression('<RegressionTable intercept="3"/>'), x=[1.0, 2.0]).values == [3, 3]


def test_a_missing_number_fails_its_record_alone(score: Score) -> None:
    table = '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="0"/></RegressionTable>'
    answers = score(regression(table), x=[1.0, None, 2.0])
    assert answers.values == [1, None, 1]
    assert answers.failures[1] == "x is missing"


@pytest.mark.parametrize("method", [*LINKS, "exp", "softmax", "none"])
def test_normalisations_of_a_number(score: Score, method: str) -> None:
    others = {"exp": math.exp, "softmax": LINKS["logit"], "none": float}
    table = '<RegressionTable intercept="0.1"><NumericPredictor name="x" coefficient="0.3"/></RegressionTable>'
    answers = score(regression(table, f'normalizationMethod="{method}"'), x=XS)
    link = {**LINKS, **others}[method]
    assert answers.values == pytest.approx([link(0.1 + 0.3 * x) for x in XS], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("method", LINKS)
def test_two_classes_share_one_link(score: Score, method: str) -> None:
    model = classifier(f'normalizationMethod="{method}"', ("b", 0.2, -0.7), ("a", 0, 0))
    answers = score(model, x=XS)
    first = [LINKS[method](0.2 - 0.7 * x) for x in XS]
    assert [row["b"] for row in answers.probabilities] == pytest.approx(first, abs=1e-11)
    assert answers.labels == ["b" if p >= 0.5 else "a" for p in first]


@pytest.mark.parametrize("method", LINKS)
def test_ordered_classes_have_cumulative_probabilities(score: Score, method: str) -> None:
    tables = (("low", -1.0, 0.5), ("mid", 1.0, 0.5), ("high", 0.0, 0.0))
    model = classifier(f'normalizationMethod="{method}"', *tables)
    answers = score(model, **ordinal("low", "mid", "high"), x=[0.7])
    low, mid = (LINKS[method](a + 0.35) for a in (-1.0, 1.0))
    expected = {"low": low, "mid": mid - low, "high": 1 - mid}
    assert answers.probabilities[0] == pytest.approx(expected, abs=1e-11)


def softmax(*ys: float) -> list[float]:
    return [math.exp(y) / sum(map(math.exp, ys)) for y in ys]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("softmax", softmax(2.0, 1.0, 5.0)),
        ("simplemax", [2 / 8, 1 / 8, 5 / 8]),
        ("none", [2.0, 1.0, -2.0]),
    ],
)
def test_many_classes(score: Score, method: str, expected: Sequence[float]) -> None:
    tables = (("a", 1.0, 1.0), ("b", 0.0, 1.0), ("c", 4.0, 1.0))
    answers = score(classifier(f'normalizationMethod="{method}"', *tables), x=[1.0])
    assert list(answers.probabilities[0].values()) == pytest.approx(expected, abs=1e-12)
    assert answers.labels == ["abc"[expected.index(max(expected))]]


def test_softmax_does_not_overflow(score: Score) -> None:
    model = classifier(
        'normalizationMethod="softmax"', ("a", 0, 1000), ("b", 0, -1000), ("c", 0, 0)
    )
    assert score(model, x=[1.0, -1.0, 0.0]).labels == ["a", "b", "a"]


def test_a_probability_of_two_classes_without_link_stays_in_bounds(score: Score) -> None:
    answers = score(classifier("", ("a", 0, 1), ("b", 0, 0)), x=[0.25, 7.0, -3.0])
    assert [row["a"] for row in answers.probabilities] == [0.25, 1.0, 0.0]


def test_tables_are_put_in_the_order_of_the_targets_values(score: Score) -> None:
    field = ordinal("a", "b", "c")["fields"].replace("ordinal", "categorical")
    model = classifier('normalizationMethod="softmax"', ("c", 3, 0), ("a", 1, 0), ("b", 2, 0))
    mining = '<MiningField name="y" usageType="predicted"/>'
    answers = score(model, fields=field, mining=mining, x=[0.0])
    assert list(answers.probabilities[0].values()) == pytest.approx(softmax(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            classifier('normalizationMethod="logit"', ("a", 0, 1), ("b", 0, 1), ("c", 0, 0)),
            "'logit'",
        ),
        (classifier('normalizationMethod="logit"', ("a", 0, 0), ("b", 0, 1)), "empty first table"),
        (classifier('normalizationMethod="exp"', ("a", 0, 1), ("b", 0, 1)), "'exp'"),
        (classifier('normalizationMethod="magic"', ("a", 0, 1), ("b", 0, 1)), "'magic'"),
        (regression('<RegressionTable intercept="0" tilt="1"/>'), "tilt='1'"),
        (regression('<RegressionTable intercept="0"/>', 'functionName2="x"'), "functionName2"),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, model: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(model, x=[1.0])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "no <RegressionTable>"),
        ("<RegressionTable/>", "lacks its attribute intercept"),
        ('<RegressionTable intercept="much"/>', "'much' is not a number"),
        ('<RegressionTable intercept="0"/>' * 2, "2 tables"),
        (
            '<RegressionTable intercept="0"><NumericPredictor name="w" coefficient="1"/></RegressionTable>',
            "no field 'w'",
        ),
    ],
)
def test_what_is_wrong_is_rejected_by_name(score: Score, table: str, reason: str) -> None:
    with pytest.raises(ModelRejected, match=reason):
        score(regression(table), x=[1.0])
