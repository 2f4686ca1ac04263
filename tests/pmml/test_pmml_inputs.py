"""What a document says of its inputs: names, categories, intervals, missing and invalid values."""

from collections.abc import Callable
from typing import Any

import pytest

from repertory.errors import ModelRejected
from repertory.models.model import (
    Engine,
    Feature,
    Interval,
    OnInvalid,
    OnMissing,
    Schema,
    Task,
)
from repertory.models.pmml.compiler import compile_pmml
from repertory.models.pmml.refusal import NotCompiled

Compile = Callable[..., Any]
Score = Callable[..., Any]

ECHO = """<RegressionModel functionName="regression"><MiningSchema/>
  <RegressionTable intercept="0"><NumericPredictor name="x" coefficient="1"/></RegressionTable>
</RegressionModel>"""
COLOUR = """<RegressionModel functionName="regression"><MiningSchema/>
  <RegressionTable intercept="0"><CategoricalPredictor name="c" value="red" coefficient="1"/>
  <CategoricalPredictor name="c" value="blue" coefficient="2"/></RegressionTable></RegressionModel>"""


def number(inner: str = "", data_type: str = "double", optype: str = "continuous") -> str:
    return f'<DataField name="x" optype="{optype}" dataType="{data_type}">{inner}</DataField>'


def colours(*values: str, inner: str = "") -> str:
    listed = "".join(f'<Value value="{value}"/>' for value in values)
    return f'<DataField name="c" optype="categorical" dataType="string">{listed}{inner}</DataField>'


def active(name: str, attributes: str) -> str:
    return f'<MiningField name="{name}" {attributes}/>'


def document(*names: str) -> bytes:
    """A sum of fields."""
    fields = "".join(
        f'<DataField name="{n}" optype="continuous" dataType="double"/>' for n in names
    )
    mining = "".join(f'<MiningField name="{n}"/>' for n in names)
    terms = "".join(f'<NumericPredictor name="{n}" coefficient="1"/>' for n in names)
    return f"""<PMML xmlns="http://www.dmg.org/PMML-4_3" version="4.3"><Header/>
      <DataDictionary>{fields}</DataDictionary><RegressionModel functionName="regression">
      <MiningSchema>{mining}</MiningSchema><RegressionTable intercept="0">{terms}</RegressionTable>
      </RegressionModel></PMML>""".encode()


WINE = Schema("wine", (Feature("fixed_acidity"), Feature("pH"), Feature("alcohol")))


@pytest.mark.parametrize("spelling", ["fixed acidity", "fixed_acidity", "fixedAcidity"])
def test_fields_are_features_whatever_their_spelling(spelling: str) -> None:
    prepared = compile_pmml(document("alcohol", spelling), WINE)
    (tensor,) = prepared.signature.tensors
    assert [feature.name for feature in tensor.features] == ["alcohol", "fixed_acidity"]
    assert (prepared.engine, prepared.signature.task) == (Engine.ONNX, Task.REGRESSION)


def test_fields_that_the_schema_lacks_are_named_with_what_it_has() -> None:
    with pytest.raises(ModelRejected, match=r"'colour', 'age'.*'wine'.*fixed_acidity, pH, alcohol"):
        compile_pmml(document("alcohol", "colour", "age"), WINE)


def test_two_fields_are_not_one_feature() -> None:
    with pytest.raises(ModelRejected, match="both the feature pH"):
        compile_pmml(document("pH", "ph"), WINE)


def test_a_model_that_takes_nothing_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="takes no input"):
        compile_pmml(document(), WINE)


def test_texts_do_not_stand_for_numbers_nor_numbers_for_texts(compiled: Compile) -> None:
    with pytest.raises(ModelRejected, match=r"takes a number .* is text"):
        compiled(ECHO, columns={"x": ["a"]}, fields=number())
    with pytest.raises(ModelRejected, match=r"takes texts .* is a number"):
        compiled(COLOUR, columns={"c": [1.0]}, fields=colours("red"))


def test_a_field_is_required_unless_the_document_says_what_to_do_without(compiled: Compile) -> None:
    def on_missing(attributes: str) -> OnMissing:
        prepared = compiled(ECHO, columns={"x": [1.0]}, mining=active("x", attributes))
        return OnMissing(prepared.signature.tensors[0].features[0].on_missing)

    assert on_missing("") is OnMissing.REJECT
    assert on_missing('missingValueTreatment="asIs"') is OnMissing.REJECT
    assert on_missing('missingValueReplacement="3"') is OnMissing.ACCEPT
    assert on_missing('missingValueTreatment="returnInvalid"') is OnMissing.REJECT


def test_missing_values_are_replaced(score: Score) -> None:
    mining = active("x", 'missingValueReplacement="3" missingValueTreatment="asMean"')
    assert score(ECHO, mining=mining, x=[1.0, None]).values == [1, 3]
    mining = active("c", 'missingValueReplacement="blue"')
    assert score(COLOUR, mining=mining, c=["red", None, "green"]).values == [1, 2, 0]


def test_values_that_stand_for_missing_are_missing(score: Score) -> None:
    field = number('<Value value="-999" property="missing"/>')
    mining = active("x", 'missingValueReplacement="3"')
    assert score(ECHO, fields=field, mining=mining, x=[1.0, -999.0]).values == [1, 3]
    assert score(ECHO, fields=field, x=[1.0, -999.0]).values == [1, None]
    field = colours("red", "blue", inner='<Value value="?" property="missing"/>')
    mining = active("c", 'missingValueReplacement="blue"')
    assert score(COLOUR, fields=field, mining=mining, c=["red", "?", None]).values == [1, 2, 2]


@pytest.mark.parametrize(
    ("outliers", "expected"),
    [
        ("asIs", [-9, 0, 5, 10, 99]),
        ("asExtremeValues", [0, 0, 5, 10, 10]),
        ("asMissingValues", [7, 0, 5, 10, 7]),
    ],
)
def test_outliers(score: Score, outliers: str, expected: list[float]) -> None:
    treatment = f'outliers="{outliers}" lowValue="0" highValue="10" missingValueReplacement="7"'
    answers = score(ECHO, mining=active("x", treatment), x=[-9.0, 0.0, 5.0, 10.0, 99.0])
    assert answers.values == expected


def test_an_integer_category_is_valid_if_it_is_listed(score: Score) -> None:
    values = '<Value value="1"/><Value value="2"/>'
    field = number(values, data_type="integer", optype="categorical")
    answers = score(ECHO, fields=field, x=[1.0, 2.0, 3.0])
    assert answers.values == [1, 2, None]
    assert answers.failures[2] == "x = 3.0 is outside what the model declares valid"


INTERVALS = '<Interval closure="closedOpen" leftMargin="0" rightMargin="1"/><Interval closure="openOpen" leftMargin="5"/>'


def test_intervals_tell_which_numbers_are_valid(compiled: Compile, score: Score) -> None:
    prepared = compiled(ECHO, columns={"x": [1.0]}, fields=number(INTERVALS))
    feature = prepared.signature.tensors[0].features[0]
    expected = (Interval(0, 1, True, False), Interval(5, None, False, False))
    assert (feature.intervals, feature.on_invalid) == (expected, OnInvalid.REJECT)
    answers = score(ECHO, fields=number(INTERVALS), x=[0.0, 1.0, 5.0, 6.0])
    assert answers.values == [0, None, None, 6]


def test_one_number_can_be_invalid(score: Score) -> None:
    field = number('<Value value="0" property="invalid"/>')
    assert score(ECHO, fields=field, x=[-1.0, 0.0, 1.0]).values == [-1, None, 1]


@pytest.mark.parametrize(
    ("treatment", "numbers", "texts"),
    [
        ('"returnInvalid"', [0, None], [1, None]),
        ('"asIs"', [0, 3], [1, 0]),
        ('"asMissing" missingValueReplacement="2"', [0, 2], None),
        ('"asMissing" missingValueReplacement="blue"', None, [1, 2]),
        ('"asValue" invalidValueReplacement="6"', [0, 6], None),
        ('"asValue" invalidValueReplacement="blue"', None, [1, 2]),
    ],
)
def test_invalid_values(
    score: Score, treatment: str, numbers: list[float] | None, texts: list[float] | None
) -> None:
    treatment = f"invalidValueTreatment={treatment}"
    if numbers is not None:
        answers = score(ECHO, fields=number(INTERVALS), mining=active("x", treatment), x=[0.0, 3.0])
        assert answers.values == numbers
    if texts is not None:
        field, mining = colours("red", "blue"), active("c", treatment)
        assert score(COLOUR, fields=field, mining=mining, c=["red", "green"]).values == texts


def test_any_text_is_valid_where_none_are_listed(score: Score) -> None:
    answers = score(COLOUR, c=["red", "green", "blue", "", None])
    assert answers.values == [1, 0, 2, 0, None]


def test_a_model_within_a_model_treats_its_fields_again(score: Score) -> None:
    inner = ECHO.replace(
        "<MiningSchema/>",
        '<MiningSchema><MiningField name="x" missingValueReplacement="4"/></MiningSchema>',
    )
    model = f"""<MiningModel functionName="regression"><MiningSchema/>
      <Segmentation multipleModelMethod="sum"><Segment><True/>{inner}</Segment></Segmentation>
    </MiningModel>"""
    assert score(model, x=[1.0, None]).values == [1, 4]


@pytest.mark.parametrize(
    ("field", "mining", "reason"),
    [
        (number(data_type="dateTime"), "", "dateTime"),
        (number().replace("optype", 'isCyclic="1" optype'), "", "isCyclic"),
        (number().replace("optype", 'aura="red" optype'), "", "aura"),
        (number('<Value value="1" property="odd"/>'), "", "odd"),
        (number(), 'usageType="sacred"', "sacred"),
        (number(), 'outliers="hidden"', "hidden"),
        (number(), 'invalidValueTreatment="asMagic"', "asMagic"),
        (number(), 'invalidValueTreatment="asIs" invalidValueReplacement="1"', "asIs"),
    ],
)
def test_what_is_not_known_is_not_compiled(
    score: Score, field: str, mining: str, reason: str
) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(ECHO, fields=field, mining=active("x", mining), x=[1.0])


def test_a_feature_may_be_text_of_any_kind(compiled: Compile) -> None:
    prepared = compiled(COLOUR, columns={"c": ["red"]})
    feature = prepared.signature.tensors[0].features[0]
    assert feature.categories == ("red", "blue")
    assert feature.on_invalid is OnInvalid.AS_IS
