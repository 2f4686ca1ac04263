"""Targets: what is done to a prediction, and what stands in for a missing one."""

from collections.abc import Callable
from typing import Any

import pytest

from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

TREE = """<TreeModel functionName="{function}"><MiningSchema/>{targets}<Node><True/>
  <Node score="{score}"><SimplePredicate field="x" operator="lessThan" value="1"/>
    <ScoreDistribution value="{score}" recordCount="4"/></Node></Node></TreeModel>"""


def line(target: str) -> str:
    return f"""<RegressionModel functionName="regression"><MiningSchema/><Targets>{target}</Targets>
      <RegressionTable intercept="0"><NumericPredictor name="x" coefficient="1"/></RegressionTable>
      </RegressionModel>"""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", [-3.5, -0.5, 2.5]),
        ('min="-1" max="2"', [-1, -0.5, 2]),
        ('rescaleFactor="2" rescaleConstant="10"', [3, 9, 15]),
        ('min="0" rescaleFactor="2" rescaleConstant="1"', [1, 1, 6]),
        ('castInteger="round"', [-3, 0, 3]),
        ('castInteger="ceiling"', [-3, 0, 3]),
        ('castInteger="floor"', [-4, -1, 2]),
        ('max="2.2" rescaleFactor="10" rescaleConstant="0.4" castInteger="round"', [-35, -5, 22]),
    ],
)
def test_numbers_are_bounded_rescaled_and_rounded_in_that_order(
    score: Score, attributes: str, expected: list[float]
) -> None:
    answers = score(line(f"<Target {attributes}/>"), x=[-3.5, -0.5, 2.5])
    assert answers.values == expected


def test_a_default_value_stands_in_for_a_missing_number(score: Score) -> None:
    targets = (
        '<Targets><Target rescaleFactor="2"><TargetValue defaultValue="5"/></Target></Targets>'
    )
    model = TREE.format(function="regression", targets=targets, score=3)
    assert score(model, x=[0.0, 9.0]).values == [6, 5]


def test_prior_probabilities_stand_in_for_a_missing_class(score: Score) -> None:
    targets = """<Targets><Target><TargetValue value="a" priorProbability="0.3"/>
      <TargetValue value="b" priorProbability="0.7"/></Target></Targets>"""
    model = TREE.format(function="classification", targets=targets, score="a")
    answers = score(model, x=[0.0, 9.0])
    assert answers.labels == ["a", "b"]
    assert answers.probabilities == [{"a": 1, "b": 0}, {"a": 0.3, "b": 0.7}]


def test_the_target_of_the_models_own_field_counts(score: Score) -> None:
    targets = '<Target field="w" rescaleFactor="100"/><Target field="y" rescaleFactor="2"/>'
    fields = '<DataField name="y" optype="continuous" dataType="double"/>'
    mining = '<MiningField name="y" usageType="target"/>'
    assert score(line(targets), fields=fields, mining=mining, x=[1.0]).values == [2]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ('<Target twist="1"/>', "twist"),
        ('<Target castInteger="up"/>', "'up'"),
        ('<Target field="u"/><Target field="v"/>', "no <Target>"),
        (
            '<Target><TargetValue defaultValue="1"/><TargetValue defaultValue="2"/></Target>',
            "several",
        ),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, target: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(line(target), x=[1.0])
