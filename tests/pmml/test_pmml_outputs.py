"""Output fields: what a later segment of a chain may read of a model's answer."""

from collections.abc import Callable
from typing import Any

import pytest

from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

TARGET = {
    "fields": """<DataField name="y" optype="categorical" dataType="integer">
      <Value value="10"/><Value value="20"/></DataField>""",
}


def chain(outputs: str, reads: str) -> str:
    """A classifier with output fields, and a regression that answers one of them."""
    return f"""<MiningModel functionName="regression"><MiningSchema/>
      <Segmentation multipleModelMethod="modelChain"><Segment><True/>
      <TreeModel functionName="classification"><MiningSchema><MiningField name="x"/>
        <MiningField name="y" usageType="target"/></MiningSchema><Output>{outputs}</Output>
        <Node><True/>
          <Node score="10"><SimplePredicate field="x" operator="lessThan" value="1"/>
            <ScoreDistribution value="10" recordCount="3"/><ScoreDistribution value="20" recordCount="1"/></Node>
          <Node score="20"><True/><ScoreDistribution value="20" recordCount="5"/></Node></Node>
      </TreeModel></Segment><Segment><True/>
      <RegressionModel functionName="regression"><MiningSchema><MiningField name="{reads}"/></MiningSchema>
        <RegressionTable intercept="0"><NumericPredictor name="{reads}" coefficient="1"/></RegressionTable>
      </RegressionModel></Segment></Segmentation></MiningModel>"""


def field(attributes: str, body: str = "", name: str = "o") -> str:
    return f'<OutputField name="{name}" {attributes}>{body}</OutputField>'


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (field('feature="predictedValue" dataType="integer"'), [10, 20]),
        (field('dataType="double"'), [10, 20]),
        (field('feature="probability" value="20" dataType="double"'), [0.25, 1]),
        (field('feature="probability" value="10"'), [0.75, 0]),
        (field('feature="probability"'), [0.75, 1]),
        (field('feature="transformedValue"', '<Constant dataType="double">3</Constant>'), [3, 3]),
    ],
)
def test_what_a_later_segment_reads(score: Score, output: str, expected: list[float]) -> None:
    assert score(chain(output, "o"), **TARGET, x=[0.0, 5.0]).values == expected


def test_output_fields_read_each_other_and_fields_of_the_model(score: Score) -> None:
    times = '<Apply function="*"><FieldRef field="p"/><FieldRef field="x"/></Apply>'
    outputs = field('feature="probability" value="20"', name="p")
    outputs += field('feature="transformedValue" dataType="double"', times)
    assert score(chain(outputs, "o"), **TARGET, x=[0.5, 5.0]).values == [0.125, 5]


def test_what_nobody_reads_need_not_be_understood(score: Score) -> None:
    outputs = field('feature="reasonCode" rank="3"', name="r") + field('feature="probability"')
    assert score(chain(outputs, "o"), **TARGET, x=[0.0]).values == [0.75]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ('feature="reasonCode"', "reasonCode"),
        ('feature="probability" value="30"', "'30' is not among"),
        ('feature="probability" segmentId="2"', "segmentId"),
        ('feature="predictedValue" dataType="date"', "date"),
    ],
)
def test_what_is_read_must_be_understood(score: Score, attributes: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(chain(field(attributes), "o"), **TARGET, x=[0.0])
