"""TreeModel: predicates, strategies for missing values, scores and probabilities."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

# The tree of the PMML specification by which it explains its strategies for missing values.
GOLF = """
<TreeModel functionName="classification" {strategy}>
  <MiningSchema/>
  <Node id="1" score="will play" recordCount="100" defaultChild="2"><True/>
    <ScoreDistribution value="will play" recordCount="60" confidence="0.6"/>
    <ScoreDistribution value="may play" recordCount="30" confidence="0.3"/>
    <ScoreDistribution value="no play" recordCount="10" confidence="0.1"/>
    <Node id="2" score="will play" recordCount="50" defaultChild="3">
      <SimplePredicate field="outlook" operator="equal" value="sunny"/>
      <ScoreDistribution value="will play" recordCount="40" confidence="0.8"/>
      <ScoreDistribution value="may play" recordCount="2" confidence="0.04"/>
      <ScoreDistribution value="no play" recordCount="8" confidence="0.16"/>
      <Node id="3" score="will play" recordCount="40">
        <CompoundPredicate booleanOperator="surrogate">
          <SimplePredicate field="temperature" operator="greaterOrEqual" value="50"/>
          <SimplePredicate field="humidity" operator="lessThan" value="80"/>
        </CompoundPredicate>
        <ScoreDistribution value="will play" recordCount="36" confidence="0.9"/>
        <ScoreDistribution value="may play" recordCount="2" confidence="0.05"/>
        <ScoreDistribution value="no play" recordCount="2" confidence="0.05"/>
      </Node>
      <Node id="4" score="no play" recordCount="10">
        <CompoundPredicate booleanOperator="surrogate">
          <SimplePredicate field="temperature" operator="lessThan" value="50"/>
          <SimplePredicate field="humidity" operator="greaterOrEqual" value="80"/>
        </CompoundPredicate>
        <ScoreDistribution value="will play" recordCount="4" confidence="0.4"/>
        <ScoreDistribution value="may play" recordCount="0" confidence="0"/>
        <ScoreDistribution value="no play" recordCount="6" confidence="0.6"/>
      </Node>
    </Node>
    <Node id="5" score="may play" recordCount="50">
      <CompoundPredicate booleanOperator="or">
        <SimplePredicate field="outlook" operator="equal" value="overcast"/>
        <SimplePredicate field="outlook" operator="equal" value="rain"/>
      </CompoundPredicate>
      <ScoreDistribution value="will play" recordCount="20" confidence="0.4"/>
      <ScoreDistribution value="may play" recordCount="28" confidence="0.56"/>
      <ScoreDistribution value="no play" recordCount="2" confidence="0.04"/>
    </Node>
  </Node>
</TreeModel>"""
OUTLOOK = """<DataField name="outlook" optype="categorical" dataType="string">
  <Value value="sunny"/><Value value="overcast"/><Value value="rain"/></DataField>"""


def golf(score: Score, strategy: str, *days: tuple[str | None, float | None, float | None]) -> Any:
    outlook, temperature, humidity = zip(*days, strict=True)
    return score(
        GOLF.format(strategy=strategy),
        fields=OUTLOOK,
        outlook=[*outlook, "rain"],
        temperature=[*temperature, 1.0],
        humidity=[*humidity, 1.0],
    )


def test_a_tree_answers_the_class_and_the_shares_of_its_leaf(score: Score) -> None:
    answers = golf(score, "", ("sunny", 60.0, 70.0), ("sunny", 40.0, 70.0), ("rain", 60.0, 70.0))
    assert answers.labels[:3] == ["will play", "no play", "may play"]
    assert answers.probabilities[1] == {"will play": 0.4, "may play": 0.0, "no play": 0.6}


def test_a_surrogate_stands_in_for_a_missing_value(score: Score) -> None:
    answers = golf(score, "", ("sunny", None, 85.0), ("sunny", None, 75.0))
    assert answers.labels[:2] == ["no play", "will play"]


def test_default_child_is_taken_where_a_predicate_is_unknown(score: Score) -> None:
    strategy = 'missingValueStrategy="defaultChild"'
    answers = golf(score, strategy, (None, 40.0, 70.0), ("sunny", None, None), (None, None, None))
    assert answers.labels[:3] == ["no play", "will play", "will play"]


def test_last_prediction_stops_where_a_predicate_is_unknown(score: Score) -> None:
    strategy = 'missingValueStrategy="lastPrediction"'
    answers = golf(score, strategy, ("sunny", None, None), (None, 40.0, 70.0))
    assert answers.probabilities[0] == {"will play": 0.8, "may play": 0.04, "no play": 0.16}
    assert answers.probabilities[1] == {"will play": 0.6, "may play": 0.3, "no play": 0.1}


def test_null_prediction_gives_none_where_a_predicate_is_unknown(score: Score) -> None:
    answers = golf(score, 'missingValueStrategy="nullPrediction"', ("sunny", None, None))
    assert answers.labels[:2] == [None, "may play"]


def test_weighted_confidence_averages_all_children_that_are_not_false(score: Score) -> None:
    strategy = 'missingValueStrategy="weightedConfidence"'
    answers = golf(score, strategy, ("sunny", None, None), (None, 45.0, 60.0), (None, None, None))
    assert answers.labels[:3] == ["will play"] * 3
    first = {"will play": 0.8 * 0.9 + 0.2 * 0.4, "may play": 0.8 * 0.05, "no play": 0.04 + 0.12}
    assert answers.probabilities[0] == pytest.approx(first)
    second = {"will play": 0.4, "may play": 0.28, "no play": 0.32}
    assert answers.probabilities[1] == pytest.approx(second)
    assert answers.probabilities[2] == pytest.approx(
        {"will play": 0.6, "may play": 0.3, "no play": 0.1}
    )


def test_aggregate_nodes_adds_up_the_records_of_all_leaves_reached(score: Score) -> None:
    strategy = 'missingValueStrategy="aggregateNodes"'
    answers = golf(score, strategy, (None, 45.0, 90.0), ("sunny", None, None), ("rain", 1.0, 1.0))
    assert answers.labels[:3] == ["may play", "will play", "may play"]
    both = {"will play": 24 / 60, "may play": 28 / 60, "no play": 8 / 60}
    assert answers.probabilities[0] == pytest.approx(both)


def stump(test: str, attributes: str = "") -> str:
    return f"""<TreeModel functionName="regression" {attributes}><MiningSchema/>
      <Node score="0"><True/>
        <Node score="1">{test}</Node>
      </Node></TreeModel>"""


def simple(operator: str, value: str = "1.5") -> str:
    return f'<SimplePredicate field="x" operator="{operator}" value="{value}"/>'


JUST_BELOW, JUST_ABOVE = math.nextafter(1.5, 0), math.nextafter(1.5, 2)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("lessThan", [1, 0, 0]),
        ("lessOrEqual", [1, 1, 0]),
        ("greaterThan", [0, 0, 1]),
        ("greaterOrEqual", [0, 1, 1]),
        ("equal", [0, 1, 0]),
        ("notEqual", [1, 0, 1]),
    ],
)
def test_comparisons_are_exact_to_the_last_bit(
    score: Score, operator: str, expected: list[float]
) -> None:
    model = stump(simple(operator), 'noTrueChildStrategy="returnLastPrediction"')
    assert score(model, x=[JUST_BELOW, 1.5, JUST_ABOVE]).values == expected


def test_leaf_values_are_doubles(score: Score) -> None:
    model = stump(simple("lessThan")).replace('score="1"', 'score="0.1234567890123456"')
    assert score(model, x=[1.0]).values == [0.1234567890123456]


def test_no_true_child_gives_no_prediction_unless_the_last_one_is_kept(score: Score) -> None:
    assert score(stump(simple("lessThan")), x=[1.0, 2.0]).values == [1.0, None]
    keeps = 'noTrueChildStrategy="returnLastPrediction"'
    assert score(stump(simple("lessThan"), keeps), x=[1.0, 2.0]).values == [1.0, 0.0]


def test_a_tree_of_one_node_answers_its_score(score: Score) -> None:
    model = '<TreeModel functionName="regression"><MiningSchema/><Node score="7"><True/></Node></TreeModel>'
    assert score(model, x=[1.0, 2.0]).values == [7.0, 7.0]


def test_a_root_whose_predicate_is_false_predicts_nothing(score: Score) -> None:
    model = f"""<TreeModel functionName="regression"><MiningSchema/>
      <Node score="7">{simple("lessThan")}</Node></TreeModel>"""
    assert score(model, x=[1.0, 2.0]).values == [7.0, None]


MISSING, PRESENT = '<SimplePredicate field="x" operator="isMissing"/>', simple("isNotMissing")


def joined(operator: str, *parts: str) -> str:
    return f'<CompoundPredicate booleanOperator="{operator}">{"".join(parts)}</CompoundPredicate>'


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (MISSING, [None, None, 1]),
        (PRESENT, [1, 1, None]),
        (joined("or", MISSING, simple("greaterThan")), [None, 1, 1]),
        (joined("and", PRESENT, simple("lessThan")), [1, None, None]),
        (joined("xor", PRESENT, MISSING, "<True/>"), [None, None, None]),
        (joined("xor", simple("lessThan"), "<True/>", MISSING), [None, 1, None]),
        (joined("surrogate", simple("lessThan"), MISSING), [1, None, 1]),
        (joined("or", joined("and", MISSING, "<True/>"), "<False/>"), [None, None, 1]),
    ],
)
def test_predicates_of_a_value_that_may_be_missing(
    score: Score, test: str, expected: list[float | None]
) -> None:
    assert score(stump(test), x=[1.0, 2.0, None]).values == expected


@pytest.mark.parametrize(("test", "expected"), [("<True/>", 1), ("<False/>", None)])
def test_constant_predicates(score: Score, test: str, expected: float | None) -> None:
    assert score(stump(test), x=[1.0]).values == [expected]


def test_sets_of_texts_and_numbers(score: Score) -> None:
    inside = '<SimpleSetPredicate field="{}" booleanOperator="{}"><Array type="string">{}</Array></SimpleSetPredicate>'
    colours = stump(inside.format("c", "isIn", r'red "dark \"x\" green" blue'))
    answers = score(colours, c=["red", 'dark "x" green', "green", "blue", "white"])
    assert answers.values == [1, 1, None, 1, None]
    numbers = stump(inside.format("x", "isNotIn", "1 2.5 40"))
    assert score(numbers, x=[1.0, 2.5, 3.0, 40.0]).values == [None, None, 1, None]


def test_float_fields_are_compared_in_float32(score: Score) -> None:
    field = '<DataField name="x" optype="continuous" dataType="float"/>'
    model = stump(simple("lessOrEqual", "0.1"), 'noTrueChildStrategy="returnLastPrediction"')
    as_float = float(np.float32(0.1))  # a little more than 0.1
    assert score(model, fields=field, x=[as_float, 0.1, 0.2]).values == [1, 1, 0]
    assert score(model, x=[as_float, 0.1, 0.2]).values == [0, 1, 0]


def test_classes_come_in_the_order_of_the_data_dictionary(score: Score) -> None:
    target = """<DataField name="y" optype="categorical" dataType="string">
      <Value value="c"/><Value value="a"/><Value value="b"/></DataField>"""
    model = f"""<TreeModel functionName="classification"><MiningSchema/>
      <Node score="a"><True/>
        <Node score="b">{simple("lessThan")}<ScoreDistribution value="b" recordCount="3"/>
          <ScoreDistribution value="c" recordCount="1"/></Node>
        <Node score="c"><True/><ScoreDistribution value="c" recordCount="2"/></Node>
      </Node></TreeModel>"""
    mining = '<MiningField name="y" usageType="target"/>'
    answers = score(model, fields=target, mining=mining, x=[1.0, 2.0])
    assert answers.outcomes.labels == ("c", "a", "b")
    assert answers.labels == ["b", "c"]
    assert answers.outcomes.probabilities.tolist() == [[0.25, 0.0, 0.75], [1.0, 0.0, 0.0]]


def test_stated_probabilities_are_taken_as_they_are(score: Score) -> None:
    model = """<TreeModel functionName="classification"><MiningSchema/>
      <Node score="a"><True/>
        <ScoreDistribution value="a" recordCount="1" probability="0.7"/>
        <ScoreDistribution value="b" recordCount="9" probability="0.3"/></Node></TreeModel>"""
    assert score(model, x=[1.0]).probabilities == [{"a": 0.7, "b": 0.3}]


def test_leaves_without_shares_give_classes_alone(score: Score) -> None:
    model = stump(simple("lessThan")).replace("regression", "classification")
    answers = score(model, x=[1.0, 2.0])
    assert answers.labels == ["1", None]
    assert answers.outcomes.probabilities is None


def test_default_child_among_many_children(score: Score) -> None:
    model = f"""<TreeModel functionName="regression" missingValueStrategy="defaultChild"><MiningSchema/>
      <Node id="r" score="0" defaultChild="b"><True/>
        <Node id="a" score="1">{simple("lessThan", "1")}</Node>
        <Node id="b" score="2">{simple("lessThan", "2")}</Node>
        <Node id="c" score="3">{simple("lessThan", "3")}</Node>
      </Node></TreeModel>"""
    assert score(model, x=[0.0, 1.0, 2.0, None, 5.0]).values == [1, 2, 3, 2, None]


def test_children_after_two_complements_are_tried_where_those_are_unknown(score: Score) -> None:
    model = f"""<TreeModel functionName="regression"><MiningSchema/><Node score="0"><True/>
        <Node score="1">{simple("lessThan")}</Node>
        <Node score="2">{simple("greaterOrEqual")}</Node>
        <Node score="3">{MISSING}</Node>
      </Node></TreeModel>"""
    assert score(model, x=[1.0, 2.0, None]).values == [1, 2, 3]


def test_a_deep_tree_is_compiled(score: Score) -> None:
    depth = 900
    model = '<TreeModel functionName="regression"><MiningSchema/><Node score="0"><True/>'
    model += "".join(
        f'<Node score="{i}">{simple("greaterOrEqual", str(i))}' for i in range(1, depth)
    )
    model += "</Node>" * depth + "</TreeModel>"
    keeps = 'functionName="regression" noTrueChildStrategy="returnLastPrediction"'
    model = model.replace('functionName="regression"', keeps)
    assert score(model, x=[0.5, 450.5, 5000.0]).values == [0, 450, depth - 1]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (stump('<SimplePredicate field="x" operator="like" value="1"/>'), "operator='like'"),
        (stump(simple("lessThan"), 'missingValueStrategy="guess"'), "'guess'"),
        (stump(simple("lessThan"), 'noTrueChildStrategy="guess"'), "'guess'"),
        (stump(simple("lessThan"), 'missingValueStrategy="aggregateNodes"'), "in regression"),
        (stump(simple("lessThan"), 'mood="good"'), "mood='good'"),
        (stump(simple("lessThan") + "<DecisionTree/>"), "<DecisionTree>"),
        (stump('<CompoundPredicate booleanOperator="nor"><True/></CompoundPredicate>'), "'nor'"),
        (stump(simple("lessThan"), 'missingValueStrategy="defaultChild"'), "no defaultChild"),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, model: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(model, x=[1.0])
