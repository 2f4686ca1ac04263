"""GeneralRegressionModel: parameters of factors and covariates, and link functions."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]
Beta = tuple[str | None, str, float]

PARTS = """
  <ParameterList><Parameter name="p0" label="Intercept"/><Parameter name="p1"/>
    <Parameter name="p2"/><Parameter name="p3"/></ParameterList>
  <FactorList><Predictor name="c"/></FactorList>
  <CovariateList><Predictor name="x"/></CovariateList>
  <PPMatrix>
    <PPCell value="1" predictorName="x" parameterName="p1"/>
    <PPCell value="red" predictorName="c" parameterName="p2"/>
    <PPCell value="2" predictorName="x" parameterName="p3"/>
    <PPCell value="red" predictorName="c" parameterName="p3"/>
  </PPMatrix>"""
BETAS: list[Beta] = [(None, "p0", 0.5), (None, "p1", 0.25), (None, "p2", -1.0), (None, "p3", 0.125)]
ROWS = {"x": [2.0, -1.0, 3.0], "c": ["red", "blue", "red"]}
# 0.5 + x / 4 + [red] (x² / 8 - 1)
ETAS = [0.5, 0.25, 1.375]


def general(attributes: str, betas: list[Beta] = BETAS, parts: str = PARTS) -> str:
    cells = "".join(
        f'<PCell parameterName="{name}" beta="{beta}" df="1"'
        + (f' targetCategory="{target}"' if target else "")
        + "/>"
        for target, name, beta in betas
    )
    return f"""<GeneralRegressionModel {attributes}><MiningSchema/>{parts}
      <ParamMatrix>{cells}</ParamMatrix></GeneralRegressionModel>"""


REGRESSION = 'functionName="regression" modelType="{}"'
GLM = REGRESSION.format("generalizedLinear")
CLASSIFICATION = 'functionName="classification" modelType="{}"'


@pytest.mark.parametrize("kind", ["regression", "generalLinear"])
def test_a_linear_model_sums_factors_and_powers(score: Score, kind: str) -> None:
    assert score(general(REGRESSION.format(kind)), **ROWS).values == ETAS


@pytest.mark.parametrize(
    ("link", "inverse"),
    [
        ('linkFunction="identity"', float),
        ('linkFunction="log"', math.exp),
        ('linkFunction="logc"', lambda y: 1 - math.exp(y)),
        ('linkFunction="logit"', lambda y: 1 / (1 + math.exp(-y))),
        ('linkFunction="cloglog"', lambda y: 1 - math.exp(-math.exp(y))),
        ('linkFunction="loglog"', lambda y: math.exp(-math.exp(-y))),
        ('linkFunction="probit"', NormalDist().cdf),
        ('linkFunction="negbin" distParameter="2"', lambda y: 1 / (2 * (math.exp(-y) - 1))),
        ('linkFunction="power" linkParameter="-1"', lambda y: 1 / y),
        ('linkFunction="power" linkParameter="0.5"', lambda y: y**2),
        ('linkFunction="power" linkParameter="0"', math.exp),
        ('linkFunction="oddspower" linkParameter="2"', lambda y: 1 / (1 + (1 + 2 * y) ** -0.5)),
        ('linkFunction="oddspower" linkParameter="0"', lambda y: 1 / (1 + math.exp(-y))),
    ],
)
def test_inverse_links(score: Score, link: str, inverse: Callable[[float], float]) -> None:
    answers = score(general(f"{GLM} {link}"), **ROWS)
    assert answers.values == pytest.approx([inverse(eta) for eta in ETAS], rel=1e-12)


def test_offset_and_trials(score: Score) -> None:
    constant = score(general(f'{GLM} linkFunction="log" offsetValue="2" trialsValue="3"'), **ROWS)
    assert constant.values == pytest.approx([3 * math.exp(eta + 2) for eta in ETAS])
    variable = f'{GLM} linkFunction="identity" offsetVariable="o" trialsVariable="t"'
    answers = score(general(variable), **ROWS, o=[1.0, 2.0, 3.0], t=[10.0, 1.0, 2.0])
    assert answers.values == [15.0, 2.25, 8.75]


def test_a_binomial_model_gives_the_class_that_its_parameters_are_for(score: Score) -> None:
    betas: list[Beta] = [("no", name, beta) for _, name, beta in BETAS]
    kind = CLASSIFICATION.format("generalizedLinear") + ' linkFunction="logit"'
    field = '<DataField name="y" optype="categorical" dataType="string"><Value value="yes"/><Value value="no"/></DataField>'
    mining = '<MiningField name="y" usageType="target"/>'
    answers = score(general(kind, betas), fields=field, mining=mining, **ROWS)
    expected = [1 / (1 + math.exp(-eta)) for eta in ETAS]
    assert [row["no"] for row in answers.probabilities] == pytest.approx(expected)
    reference = kind + ' targetReferenceCategory="no"'
    answers = score(general(reference), fields=field, mining=mining, **ROWS)
    assert [row["yes"] for row in answers.probabilities] == pytest.approx(expected)


def test_multinomial_logistic_has_a_reference_category_of_zero(score: Score) -> None:
    betas: list[Beta] = [("a", "p0", 1.0), ("b", "p1", 0.5), ("b", "p2", 1.0)]
    kind = CLASSIFICATION.format("multinomialLogistic") + ' targetReferenceCategory="c"'
    answers = score(general(kind, betas), **ROWS)
    assert answers.labels == ["a", "a", "b"] or answers.labels[2] == "b"
    weights = {"a": math.e, "b": math.exp(2.0), "c": 1.0}
    total = sum(weights.values())
    assert answers.probabilities[0] == pytest.approx({k: w / total for k, w in weights.items()})


def test_ordinal_multinomial_has_an_intercept_for_each_level(score: Score) -> None:
    betas: list[Beta] = [("1", "p0", -1.0), ("2", "p0", 1.0), (None, "p1", 0.5)]
    kind = CLASSIFICATION.format("ordinalMultinomial") + ' cumulativeLink="logit"'
    field = '<DataField name="y" optype="ordinal" dataType="integer"><Value value="1"/><Value value="2"/><Value value="3"/></DataField>'
    mining = '<MiningField name="y" usageType="target"/>'
    answers = score(general(kind, betas), fields=field, mining=mining, **ROWS)
    low, mid = 1 / (1 + math.exp(0.0)), 1 / (1 + math.exp(-2.0))
    assert answers.probabilities[0] == pytest.approx({"1": low, "2": mid - low, "3": 1 - mid})


def test_contrasts_stand_for_categories(score: Score) -> None:
    matrix = """<Predictor name="c" contrastMatrixType="Helmert">
      <Categories><Category value="red"/><Category value="blue"/><Category value="green"/></Categories>
      <Matrix nbRows="3" nbCols="2"><Array n="2" type="real">0.6 0</Array>
        <Array n="2" type="real">-0.3 0.5</Array><Array n="2" type="real">-0.3 -0.5</Array></Matrix>
    </Predictor>"""
    parts = PARTS.replace('<Predictor name="c"/>', matrix)
    answers = score(general(REGRESSION.format("generalLinear"), parts=parts), **ROWS)
    expected = [0.5 + 0.5 + 0.6 * -0.5, 0.25 - 0.3 * (0.125 - 1), 0.5 + 0.75 + 0.6 * 0.125]
    assert answers.values == pytest.approx(expected)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (REGRESSION.format("CoxRegression"), "CoxRegression"),
        (f'{GLM} linkFunction="wishful"', "wishful"),
        (REGRESSION.format("generalLinear") + ' offsetValue="1"', "offsetValue"),
        (REGRESSION.format("multinomialLogistic"), "multinomialLogistic"),
        (f'{GLM} linkFunction="log" endTimeVariable="x"', "endTimeVariable"),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, attributes: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(general(attributes), **ROWS)


def test_an_unknown_parameter_is_rejected_by_name(score: Score) -> None:
    with pytest.raises(ModelRejected, match="no parameter 'p9'"):
        score(general(REGRESSION.format("regression"), [(None, "p9", 1.0)]), **ROWS)
