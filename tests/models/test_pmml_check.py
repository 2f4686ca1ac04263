"""PMML is compiled or given to PMML4S; hostile documents are refused, and fetch nothing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from repertory.config import Models
from repertory.errors import FailureCode, ModelRejected
from repertory.models.green_room import Admitted, GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Columns, Engine, Feature, FeatureKind, Schema
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

TASTING = Schema(
    "tasting", (Feature("type", FeatureKind.TEXT), Feature("band"), Feature("alcohol"))
)
NAIVE_BAYES = (Path(__file__).parent / "documents" / "naive-bayes.pmml").read_text()

REGRESSION = """<?xml version="1.0"?>{doctype}
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header>{header}</Header>
<DataDictionary>
 <DataField name="alcohol" optype="continuous" dataType="double"/>
 <DataField name="quality" optype="continuous" dataType="double"/>
</DataDictionary>
<RegressionModel functionName="regression"><MiningSchema>
 <MiningField name="{feature}"/><MiningField name="quality" usageType="target"/></MiningSchema>
<RegressionTable intercept="1"><NumericPredictor name="{feature}" coefficient="2"/></RegressionTable>
</RegressionModel></PMML>"""

LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))


@pytest.fixture(scope="module")
def room(wine: Schema) -> Iterator[GreenRoom]:
    green_room = GreenRoom(Models(max_mb=16), {"wine": wine, "tasting": TASTING})
    yield green_room
    green_room.close()


def admit(room: GreenRoom, text: str, data_type: str = "wine") -> Admitted:
    descriptor = ModelDescriptor(
        dataType=data_type, modeltype=ModelDescriptor.PMML, data=text.encode()
    )
    return room.prepare(descriptor.SerializeToString())


def regression(*, doctype: str = "", header: str = "", feature: str = "alcohol") -> str:
    return REGRESSION.format(doctype=doctype, header=header, feature=feature)


def test_a_document_is_compiled(room: GreenRoom, wine_columns: Columns) -> None:
    admitted = admit(room, regression())
    assert admitted.prepared.engine is Engine.ONNX
    outcomes = load_model(admitted.prepared).score(wine_columns)
    assert outcomes.values is not None
    np.testing.assert_array_equal(outcomes.values, 1 + 2 * wine_columns.features["alcohol"])


def test_what_is_not_compiled_runs_on_pmml4s(room: GreenRoom) -> None:
    admitted = admit(room, NAIVE_BAYES, "tasting")
    assert admitted.prepared.engine is Engine.PYPMML
    model = load_model(admitted.prepared)
    try:
        records = {
            "type": np.array(["red", "white", "blue", None], np.object_),
            "band": np.array([1.0, 2.0, 1.0, 1.0]),
            "alcohol": np.array([9.0, 11.0, 10.0, 10.0]),
        }
        outcomes = model.score(Columns(4, records))
    finally:
        model.close()
    assert outcomes.labels == ("no", "yes")
    assert outcomes.probabilities is not None
    odds = 0.6 * 0.9 / (0.2 * 0.1 * np.exp(-2.0))  # of "no" for the first record, by Bayes
    assert outcomes.probabilities[0, 0] == pytest.approx(odds / (1 + odds))
    assert {row: failed.code for row, failed in outcomes.failures.items()} == {
        2: FailureCode.INVALID_FEATURE,
        3: FailureCode.MISSING_FEATURE,
    }


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE PMML>",
        '<!DOCTYPE PMML SYSTEM "{url}">',
        '<!DOCTYPE PMML [<!ENTITY x SYSTEM "{url}">]>',
        '<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE PMML [<!ENTITY % x SYSTEM "{url}"> %x;]>',
        f"<!DOCTYPE PMML [{LAUGHS}]>",
    ],
)
@pytest.mark.parametrize("header", ["", "&x;", "&l11;"])
def test_a_doctype_is_refused_and_nothing_is_fetched(
    room: GreenRoom, doctype: str, header: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.dtd"
        with pytest.raises(ModelRejected, match="DOCTYPE"):
            admit(room, regression(doctype=doctype.replace("{url}", url), header=header))
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (regression()[:-30], "not well-formed"),
        (regression(feature="sugar cane"), "sugar cane"),
        (NAIVE_BAYES.replace("BayesOutput", "Nonsense"), "Nonsense"),
    ],
)
def test_a_document_that_cannot_be_served_is_refused_with_the_reason(
    room: GreenRoom, text: str, reason: str
) -> None:
    with pytest.raises(ModelRejected, match=reason):
        admit(room, text, "tasting" if "Bayes" in text else "wine")
