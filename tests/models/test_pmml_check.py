"""PMML is compiled or given to PMML4S; hostile documents are refused, and fetch nothing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.green_room import Admitted, GreenRoom
from repertory.models.model import Engine, Feature, FeatureKind, Schema
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
{verification}
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


def regression(**parts: str) -> str:
    defaults = {"doctype": "", "header": "", "feature": "alcohol", "verification": ""}
    return REGRESSION.format(**{**defaults, **parts})


def verification(*fields: str, rows: list[tuple[object, ...]]) -> str:
    """Return a ModelVerification: what the fields are in each row."""
    declared = "".join(
        f'<VerificationField field="{field}" column="d:c{i}" precision="1E-6"/>'
        for i, field in enumerate(fields)
    )
    cells = "".join(
        "<row>" + "".join(f"<d:c{i}>{cell}</d:c{i}>" for i, cell in enumerate(row)) + "</row>"
        for row in rows
    )
    return f"""<ModelVerification xmlns:d="http://example.com/data"><VerificationFields>{declared}
</VerificationFields><InlineTable>{cells}</InlineTable></ModelVerification>"""


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


def test_a_document_that_gives_its_own_answers_is_admitted(room: GreenRoom) -> None:
    stated = verification("alcohol", "quality", rows=[(9.5, 20.0), (0, 1)])
    assert admit(room, regression(verification=stated)).prepared.engine is Engine.ONNX


def test_a_document_that_gives_others_than_its_own_answers_is_refused(room: GreenRoom) -> None:
    stated = verification("alcohol", "quality", rows=[(9.5, 20.0), (1, 3.5)])
    with pytest.raises(ModelRejected, match=r"record 2, states quality = 3\.5, but it gives 3\.0"):
        admit(room, regression(verification=stated))


@pytest.mark.parametrize(
    ("good", "probability", "fault"),
    [("no", 0.99501258, None), ("yes", 0.99501258, "good = yes"), ("no", 0.9, "p = 0.9")],
)
def test_labels_and_probabilities_are_verified_on_pmml4s_too(
    room: GreenRoom, good: str, probability: float, fault: str | None
) -> None:
    output = """<Output><OutputField name="label" feature="predictedValue"/>
<OutputField name="p" feature="probability" value="no"/>
<OutputField name="q" feature="probability" value="yes"/></Output>"""
    row = ("red", 1, 9, good, probability)
    stated = verification("type", "band", "alcohol", "good", "p", rows=[row])
    text = NAIVE_BAYES.replace("<BayesInputs>", output + stated + "<BayesInputs>")
    if fault is None:
        assert admit(room, text, "tasting").prepared.engine is Engine.PYPMML
        return
    with pytest.raises(ModelRejected, match=f"its own ModelVerification.*{fault}"):
        admit(room, text, "tasting")
