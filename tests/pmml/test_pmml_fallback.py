"""What the fallback engine is told of a document, and the document that it is given."""

from pathlib import Path

import pytest

from repertory.errors import ModelRejected
from repertory.models.model import Feature, FeatureKind, OnMissing, Schema, Task
from repertory.models.pmml.compiler import compile_pmml
from repertory.models.pmml.fallback import PROBABILITIES, normalise_for_pypmml, pmml_signature
from repertory.models.pmml.xml import parse

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pmml"
NAMES = (
    "fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides",
    "free_sulfur_dioxide", "total_sulfur_dioxide", "density", "pH", "sulphates", "alcohol",
)  # fmt: skip
WINE = Schema("wine", tuple(map(Feature, NAMES)))


def document(function: str, target: str = "", kind: str = "Scorecard") -> bytes:
    return f"""<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><DataDictionary>
      <DataField name="the X" optype="continuous" dataType="double"/>
      <DataField name="colour" optype="categorical" dataType="string"><Value value="red"/></DataField>
      <DataField name="free" optype="categorical" dataType="string"/>
      <DataField name="y" optype="categorical" dataType="string"><Value value="a"/><Value value="b"/>
      </DataField></DataDictionary><{kind} functionName="{function}"><MiningSchema>
      <MiningField name="the X" missingValueReplacement="1"/><MiningField name="colour"/>
      <MiningField name="free"/>{target}</MiningSchema></{kind}></PMML>""".encode()


SCHEMA = Schema(
    "test",
    (
        Feature("the_x"),
        Feature("colour", FeatureKind.TEXT),
        Feature("free", FeatureKind.TEXT),
    ),
)
TARGET = '<MiningField name="y" usageType="target"/>'


def test_inputs_are_tensors_named_as_the_document_names_them() -> None:
    signature = pmml_signature(document("regression"), SCHEMA)
    assert [(t.name, t.dtype, t.rank) for t in signature.tensors] == [
        ("the X", "float64", 1), ("colour", "object", 1), ("free", "object", 1),
    ]  # fmt: skip
    number, colour, free = (tensor.features[0] for tensor in signature.tensors)
    assert (number.name, number.on_missing) == ("the_x", OnMissing.ACCEPT)
    assert (colour.categories, free.categories) == (("red",), None)


def test_outputs_are_named_as_pmml4s_names_them() -> None:
    signature = pmml_signature(document("classification", TARGET), SCHEMA)
    assert (signature.task, signature.label_output) == (Task.CLASSIFICATION, "predicted_y")
    assert (signature.classes, signature.probabilities_output) == (("a", "b"), PROBABILITIES)
    signature = pmml_signature(document("regression"), SCHEMA)
    assert (signature.task, signature.value_output) == (Task.REGRESSION, "predicted")


def test_a_model_that_gives_neither_a_number_nor_a_class_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="functionName='clustering'"):
        pmml_signature(document("clustering", kind="ClusteringModel"), SCHEMA)


def test_inputs_that_are_not_understood_are_not_given_to_another_engine() -> None:
    odd = document("regression").replace(b'dataType="double"', b'dataType="dateTime"')
    with pytest.raises(ModelRejected, match="dateTime"):
        pmml_signature(odd, SCHEMA)


@pytest.mark.parametrize("name", ["naive-bayes", "support-vectors"])
def test_kinds_that_are_not_compiled_have_a_signature(name: str) -> None:
    signature = pmml_signature((FIXTURES / "sklearn2pmml" / f"{name}.pmml").read_bytes(), WINE)
    assert [tensor.features[0].name for tensor in signature.tensors] == list(NAMES)


def test_every_node_gets_a_share_for_each_class_in_order() -> None:
    content = (FIXTURES / "sparkml" / "random-forest-sparse.pmml").read_bytes()
    root = parse(normalise_for_pypmml(content))
    nodes = [e for e in root.walk() if e.tag == "Node" and e.find("ScoreDistribution")]
    orders = {tuple(s.get("value") for s in n.find_all("ScoreDistribution")) for n in nodes}
    assert orders == {("5", "6", "7", "4", "8", "3")}


@pytest.mark.parametrize("file", ["sparkml/random-forest-sparse", "r-pmml-style/rpart-regression"])
def test_a_normalised_document_means_the_same(file: str) -> None:
    content = (FIXTURES / f"{file}.pmml").read_bytes()
    assert compile_pmml(normalise_for_pypmml(content), WINE) == compile_pmml(content, WINE)


def test_a_class_that_the_target_does_not_have_is_rejected() -> None:
    node = b'<Node><True/><ScoreDistribution value="z" recordCount="1"/></Node></TreeModel>'
    content = document("classification", TARGET, kind="TreeModel").replace(b"</TreeModel>", node)
    with pytest.raises(ModelRejected, match="'z' is not among the target's values 'a', 'b'"):
        normalise_for_pypmml(content)


def test_texts_survive() -> None:
    content = b'<PMML version="4.1"><DataDictionary><DataField name="a &lt; &quot;b&quot;"/></DataDictionary><TreeModel functionName="regression"><MiningSchema/><Constant>1 &amp; 2</Constant></TreeModel></PMML>'
    again = normalise_for_pypmml(content)
    assert b'xmlns="http://www.dmg.org/PMML-4_1"' in again
    assert [(e.attributes, e.text) for e in parse(again).walk()][1:] == [
        (e.attributes, e.text) for e in parse(content).walk()
    ][1:]
