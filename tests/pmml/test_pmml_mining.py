"""MiningModel: ensembles, choices, chains, and predictions that are missing."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

ALWAYS = "<True/>"


def below(value: float) -> str:
    return f'<SimplePredicate field="x" operator="lessThan" value="{value}"/>'


def line(intercept: float, slope: float, extra: str = "") -> str:
    """A regression: intercept + slope x."""
    return f"""<RegressionModel functionName="regression"><MiningSchema/>{extra}
      <RegressionTable intercept="{intercept}"><NumericPredictor name="x" coefficient="{slope}"/>
      </RegressionTable></RegressionModel>"""


def step(bound: float, low: float | str, high: float | str, function: str = "regression") -> str:
    """A tree: `low` for x below the bound, `high` above."""
    return f"""<TreeModel functionName="{function}"><MiningSchema/><Node><True/>
      <Node score="{low}">{below(bound)}<ScoreDistribution value="{low}" recordCount="3"/>
        <ScoreDistribution value="{high}" recordCount="1"/></Node>
      <Node score="{high}"><True/><ScoreDistribution value="{high}" recordCount="9"/>
        <ScoreDistribution value="{low}" recordCount="1"/></Node>
    </Node></TreeModel>"""


def mining(
    method: str, *segments: tuple[str, str, float], function: str = "regression", more: str = ""
) -> str:
    """A MiningModel of segments (predicate, model, weight)."""
    inner = "".join(
        f'<Segment id="{i}" weight="{weight}">{predicate}{model}</Segment>'
        for i, (predicate, model, weight) in enumerate(segments)
    )
    return f"""<MiningModel functionName="{function}"><MiningSchema/>
      <Segmentation multipleModelMethod="{method}" {more}>{inner}</Segmentation></MiningModel>"""


NUMBERS: dict[str, Callable[[float, float, float], float]] = {
    "average": lambda a, b, c: (a + b + c) / 3,
    "weightedAverage": lambda a, b, c: (a + 2 * b + 5 * c) / 8,
    "sum": lambda a, b, c: a + b + c,
    "weightedSum": lambda a, b, c: a + 2 * b + 5 * c,
    "x-weightedSum": lambda a, b, c: a + 2 * b + 5 * c,
    "median": lambda a, b, c: sorted((a, b, c))[1],
}


@pytest.mark.parametrize("method", NUMBERS)
def test_numbers_of_trees_are_combined(score: Score, method: str) -> None:
    trees = (step(1, 1.5, 2.5), step(2, 10, 20), step(3, -4, 7))
    segments = [(ALWAYS, tree, weight) for tree, weight in zip(trees, (1, 2, 5), strict=True)]
    combine = NUMBERS[method]
    expected = [combine(1.5, 10, -4), combine(2.5, 10, -4), combine(2.5, 20, 7)]
    assert score(mining(method, *segments), x=[0, 1.5, 9]).values == pytest.approx(expected)


@pytest.mark.parametrize("method", NUMBERS)
def test_numbers_of_different_models_are_combined(score: Score, method: str) -> None:
    segments = [(ALWAYS, line(1, 2), 1), (ALWAYS, step(1, 5, 6), 2), (ALWAYS, line(0, -1), 5)]
    expected = [NUMBERS[method](1 + 2 * x, 5 if x < 1 else 6, -x) for x in (0.5, 3)]
    assert score(mining(method, *segments), x=[0.5, 3]).values == pytest.approx(expected)


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two(score: Score) -> None:
    segments = [(ALWAYS, line(i, 0), 1) for i in (1, 10, 4, 100)]
    assert score(mining("median", *segments), x=[0.0]).values == [7.0]


def test_only_segments_whose_predicate_is_true_count(score: Score) -> None:
    segments = [(below(1), line(1, 0), 1), (below(2), line(3, 0), 1), (below(3), line(8, 0), 2)]
    assert score(mining("average", *segments), x=[0, 1.5, 2.5, 9]).values == [4, 5.5, 8, None]
    assert score(mining("sum", *segments), x=[0, 1.5, 2.5, 9]).values == [12, 11, 8, None]
    assert score(mining("weightedAverage", *segments), x=[0, 1.5]).values == [5, 19 / 3]


VOTERS = (
    step(1, "a", "b", "classification"),
    step(2, "a", "b", "classification"),
    step(3, "b", "c", "classification"),
)
A, B = {"a": 0.75, "b": 0.25}, {"a": 0.1, "b": 0.9}


def test_probabilities_are_averaged_by_class_not_by_position(score: Score) -> None:
    segments = [(ALWAYS, voter, 1) for voter in VOTERS]
    answers = score(mining("average", *segments, function="classification"), x=[0.0, 9.0])
    first = {"a": 1.5 / 3, "b": (0.5 + 0.75) / 3, "c": 0.25 / 3}
    assert answers.probabilities[0] == pytest.approx(first)
    assert answers.probabilities[1] == pytest.approx({"a": 0.2 / 3, "b": 1.9 / 3, "c": 0.9 / 3})
    assert answers.labels == ["a", "b"]


def test_votes_are_counted_and_their_parts_are_the_probabilities(score: Score) -> None:
    segments = [(ALWAYS, voter, 1) for voter in VOTERS]
    answers = score(mining("majorityVote", *segments, function="classification"), x=[0.0, 1.5, 9.0])
    assert answers.labels == ["a", "b", "b"]
    assert answers.probabilities[0] == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0})


def test_votes_are_weighted(score: Score) -> None:
    segments = [(ALWAYS, voter, weight) for voter, weight in zip(VOTERS, (1, 2, 4), strict=True)]
    model = mining("weightedMajorityVote", *segments, function="classification")
    answers = score(model, x=[0.0, 9.0])
    assert answers.labels == ["b", "c"]
    assert answers.probabilities[1] == pytest.approx({"a": 0, "b": 3 / 7, "c": 4 / 7})


def test_votes_of_different_kinds_of_models(score: Score) -> None:
    regression = """<RegressionModel functionName="classification" normalizationMethod="softmax">
      <MiningSchema/><RegressionTable targetCategory="c" intercept="1"/>
      <RegressionTable targetCategory="a" intercept="0"/>
      <RegressionTable targetCategory="b" intercept="0"/></RegressionModel>"""
    segments = [(ALWAYS, model, 1) for model in (VOTERS[0], regression, VOTERS[2])]
    answers = score(mining("majorityVote", *segments, function="classification"), x=[9.0])
    assert answers.labels == ["c"]


def test_select_first_takes_the_first_that_holds(score: Score) -> None:
    segments = [(below(1), line(1, 0), 1), (below(5), line(0, 10), 1), (below(9), step(7, 8, 9), 1)]
    model = mining("selectFirst", *segments)
    assert score(model, x=[0, 2, 6, 8, 10]).values == [1, 20, 8, 9, None]


def test_select_first_of_classifiers(score: Score) -> None:
    segments = [(below(1), VOTERS[0], 1), (ALWAYS, VOTERS[1], 1)]
    answers = score(mining("selectFirst", *segments, function="classification"), x=[0.0, 9.0])
    assert answers.probabilities == [A, B]


def output(name: str, feature: str = "predictedValue", body: str = "", **attributes: str) -> str:
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<OutputField name="{name}" feature="{feature}" optype="continuous" dataType="double"{more}>{body}</OutputField>'


def test_a_chain_passes_outputs_on(score: Score) -> None:
    apply_ = '<Apply function="*"><FieldRef field="first"/><Constant dataType="double">10</Constant></Apply>'
    outputs = f"<Output>{output('first')}{output('tenfold', 'transformedValue', apply_)}</Output>"
    last = """<RegressionModel functionName="regression" normalizationMethod="exp">
      <MiningSchema><MiningField name="first"/><MiningField name="tenfold"/></MiningSchema>
      <RegressionTable intercept="0"><NumericPredictor name="first" coefficient="1"/>
        <NumericPredictor name="tenfold" coefficient="0.1"/></RegressionTable></RegressionModel>"""
    model = mining("modelChain", (ALWAYS, line(0.5, 0.25, outputs), 1), (ALWAYS, last, 1))
    assert score(model, x=[1.0]).values == pytest.approx([math.exp(1.5)])


def test_a_chain_passes_probabilities_and_classes_on(score: Score) -> None:
    outputs = (
        f"<Output>{output('p_b', 'probability', value='b')}"
        '<OutputField name="class" feature="predictedValue" optype="categorical" dataType="string"/></Output>'
    )
    first = VOTERS[0].replace("<MiningSchema/>", "<MiningSchema/>" + outputs)
    last = """<RegressionModel functionName="regression">
      <MiningSchema><MiningField name="p_b"/><MiningField name="class"/></MiningSchema>
      <RegressionTable intercept="0"><NumericPredictor name="p_b" coefficient="1"/>
        <CategoricalPredictor name="class" value="b" coefficient="5"/></RegressionTable></RegressionModel>"""
    model = mining("modelChain", (ALWAYS, first, 1), (ALWAYS, last, 1))
    assert score(model, x=[0.0, 9.0]).values == pytest.approx([0.25, 5.9])


def test_the_last_segment_of_a_chain_that_holds_answers(score: Score) -> None:
    segments = [(ALWAYS, line(1, 0), 1), (below(5), line(2, 0), 1), (below(1), line(3, 0), 1)]
    assert score(mining("modelChain", *segments), x=[0, 2, 9]).values == [3, 2, 1]


def hole(bound: float, value: float) -> str:
    """A tree that predicts nothing for x at or above the bound."""
    return f"""<TreeModel functionName="regression"><MiningSchema/><Node><True/>
      <Node score="{value}">{below(bound)}</Node></Node></TreeModel>"""


@pytest.mark.parametrize(
    ("treatment", "expected"),
    [
        ("", [2.0, None, None]),
        ('missingPredictionTreatment="continue"', [2.0, None, None]),
        ('missingPredictionTreatment="returnMissing"', [2.0, None, None]),
        ('missingPredictionTreatment="skipSegment"', [2.0, 2.5, 4.0]),
        ('missingPredictionTreatment="skipSegment" missingThreshold="0.5"', [2.0, 2.5, None]),
        ('x-missingPredictionTreatment="skipSegment" x-missingThreshold="0.5"', [2.0, 2.5, None]),
    ],
)
def test_missing_predictions(score: Score, treatment: str, expected: list[float | None]) -> None:
    segments = [(ALWAYS, hole(1, 1), 1), (ALWAYS, hole(5, 1), 1), (ALWAYS, hole(9, 4), 1)]
    model = mining("average", *segments, more=treatment)
    assert score(model, x=[0, 2, 6]).values == expected


def test_a_chain_may_return_missing_when_any_segment_does(score: Score) -> None:
    segments = [(ALWAYS, hole(5, 1), 1), (ALWAYS, line(7, 0), 1)]
    assert score(mining("modelChain", *segments), x=[0, 9]).values == [7, 7]
    returns = 'missingPredictionTreatment="returnMissing"'
    assert score(mining("modelChain", *segments, more=returns), x=[0, 9]).values == [7, None]


def test_mining_models_nest(score: Score) -> None:
    inner = mining("sum", (ALWAYS, line(0, 1), 1), (ALWAYS, step(1, 10, 20), 1))
    model = mining("average", (ALWAYS, inner, 1), (ALWAYS, inner, 1), (ALWAYS, line(0, 0), 1))
    assert score(model, x=[0.0, 3.0]).values == pytest.approx([20 / 3, 46 / 3])


def test_segments_have_fields_of_their_own(score: Score) -> None:
    local = """<LocalTransformations><DerivedField name="d" optype="continuous" dataType="double">
      <Apply function="*"><FieldRef field="x"/><Constant dataType="double">{}</Constant></Apply>
      </DerivedField></LocalTransformations>"""
    models = [
        f"""<TreeModel functionName="regression"><MiningSchema/>{local.format(factor)}
        <Node><True/><Node score="1"><SimplePredicate field="d" operator="lessThan" value="10"/></Node>
        <Node score="100"><True/></Node></Node></TreeModel>"""
        for factor in (1, 4)
    ]
    model = mining("sum", *((ALWAYS, tree, 1) for tree in models))
    assert score(model, x=[1.0, 5.0, 20.0]).values == [2, 101, 200]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (mining("selectAll", (ALWAYS, line(0, 1), 1)), "'selectAll'"),
        (mining("majorityVote", (ALWAYS, line(0, 1), 1)), "'majorityVote' in regression"),
        (mining("sum", (ALWAYS, VOTERS[0], 1)), "functionName is not that of"),
        (mining("average", (ALWAYS, line(0, 1), 1), more='mood="good"'), "mood='good'"),
        (mining("average", (ALWAYS, line(0, 1) + "<VariableWeight/>", 1)), "VariableWeight"),
        (
            mining("average", (ALWAYS, line(0, 1).replace("RegressionModel", "Scorecard"), 1)),
            "Scorecard",
        ),
        (
            mining(
                "modelChain",
                (ALWAYS, line(0, 1), 1),
                more='missingPredictionTreatment="skipSegment"',
            ),
            "skipping",
        ),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, model: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(model, x=[1.0])


def test_a_segmentation_without_segments_is_rejected(score: Score) -> None:
    with pytest.raises(ModelRejected, match="no <Segment>"):
        score(mining("sum"), x=[1.0])
