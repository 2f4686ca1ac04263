"""The answers that a PMML document itself states for some records, and whether a model gives them.

Source: the ModelVerification element of PMML 4.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from repertory.errors import FailureCode, ModelRejected
from repertory.models.model import Columns, FeatureKind, Model, Outcomes, Schema
from repertory.models.names import normalise
from repertory.models.pmml.document import find_model
from repertory.models.pmml.xml import Element, parse, parse_number

# Exporters ask for the last bits, which depend on the order of a sum.
_FINEST = 1e-9


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a column of the table states: the prediction, or the probability of `label`."""

    field: str
    column: str
    label: str | None
    precision: float
    zero: float


class Verification:
    """The verification records of a document; without any, it finds no fault with any model."""

    def __init__(self, content: bytes, schema: Schema) -> None:
        model = find_model(parse(content))
        element = model.find("ModelVerification")
        self._schema = schema
        self._rows = [] if element is None else list(map(_cells, _rows(element)))
        fields = [] if element is None else element.need("VerificationFields").children
        self._columns = {normalise(f.require("field")): _local(_column(f)) for f in fields}
        self._expected = list(_expectations(model, fields))

    def fault(self, model: Model) -> str | None:
        """Return how a model answers otherwise than the document states; None if it does not."""
        if not self._rows or not self._expected:
            return None
        outcomes = model.score(self._records())
        for row, cells in enumerate(self._rows):
            for expected in self._expected:
                text = cells.get(expected.column)
                if text is not None and not _agrees(outcomes, row, expected, text):
                    found = _described(outcomes, row, expected)
                    return (
                        f"its own ModelVerification, record {row + 1}, states "
                        f"{expected.field} = {text}, but it gives {found}"
                    )
        return None

    def _records(self) -> Columns:
        columns = {}
        for feature in self._schema.features:
            column = self._columns.get(normalise(feature.name), feature.name)
            texts = [cells.get(column) for cells in self._rows]
            if feature.kind is FeatureKind.NUMBER:
                columns[feature.name] = np.array([_number(text) for text in texts])
            else:
                columns[feature.name] = np.array(texts, np.object_)
        return Columns(len(self._rows), columns)


def _rows(element: Element) -> list[Element]:
    """Return the rows of the table; one that is in another file is not fetched, and has none."""
    table = element.find("InlineTable")
    return [] if table is None else table.find_all("row")


def _cells(row: Element) -> dict[str, str]:
    return {_local(cell.tag): cell.text.strip() for cell in row.children}


def _column(field: Element) -> str:
    return field.get("column") or field.require("field")


def _local(name: str) -> str:
    return name.rpartition("}")[2].rpartition(":")[2]


def _expectations(model: Element, fields: list[Element]) -> Iterator[_Expected]:
    """Yield what the fields of the table say of the answer; inputs say nothing of it."""
    labels = _answers(model)
    for field in fields:
        name = field.require("field")
        if name in labels:
            yield _Expected(
                field=name,
                column=_local(_column(field)),
                label=labels[name],
                precision=max(field.number("precision", 1e-6), _FINEST),
                zero=max(field.number("zeroThreshold", 1e-16), _FINEST),
            )


def _answers(model: Element) -> dict[str, str | None]:
    """Return the fields of a document that are its answer: None, or the label of a probability."""
    answers: dict[str, str | None] = {}
    for mining in model.need("MiningSchema").find_all("MiningField"):
        if mining.get("usageType") in ("target", "predicted"):
            answers[mining.require("name")] = None
    output = model.find("Output")
    for field in output.find_all("OutputField") if output is not None else ():
        plain = not field.find("Apply") and "segmentId" not in field.attributes
        if plain and field.get("feature") == "probability" and "value" in field.attributes:
            answers[field.require("name")] = field.require("value")
        elif plain and field.get("feature", "predictedValue") == "predictedValue":
            answers[field.require("name")] = None
    return answers


def _agrees(outcomes: Outcomes, row: int, expected: _Expected, text: str) -> bool:
    if row in outcomes.failures:
        # A record that is refused before the model sees it says nothing of the model.
        return outcomes.failures[row].code is not FailureCode.SCORING_FAILED
    if expected.label is None and outcomes.chosen is not None:
        return _same_label(outcomes.labels[outcomes.chosen[row]], text)
    if expected.label is not None and (
        outcomes.probabilities is None or expected.label not in outcomes.labels
    ):
        return True  # the model gives no probabilities, and so none that are wrong
    stated, found = _number(text), float(_answer(outcomes, row, expected.label))
    if abs(stated) <= expected.zero:
        return abs(found) <= expected.zero
    return abs(found - stated) <= expected.precision * abs(stated)


def _answer(outcomes: Outcomes, row: int, label: str | None) -> float:
    if label is not None and outcomes.probabilities is not None:
        return float(outcomes.probabilities[row, outcomes.labels.index(label)])
    return float("nan") if outcomes.values is None else float(outcomes.values[row])


def _same_label(found: str, stated: str) -> bool:
    try:
        return found == stated or float(found) == float(stated)
    except ValueError:
        return False


def _described(outcomes: Outcomes, row: int, expected: _Expected) -> str:
    if row in outcomes.failures:
        return outcomes.failures[row].message
    if expected.label is None and outcomes.chosen is not None:
        return outcomes.labels[int(outcomes.chosen[row])]
    return str(_answer(outcomes, row, expected.label))


def _number(text: str | None) -> float:
    if not text:
        return float("nan")
    try:
        return parse_number(text, "a verification record")
    except ModelRejected:
        return float("nan")
