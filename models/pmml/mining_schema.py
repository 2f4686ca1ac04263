"""The MiningSchema: which fields a model takes and predicts, and how it treats odd values."""

from dataclasses import dataclass
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.model import OnInvalid
from repertory.models.pmml.columns import Column, DataType, constant_column
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.transformations import choose
from repertory.models.pmml.xml import Element, Shape

_SCHEMA: Final = Shape(children="MiningField")
_FIELD: Final = Shape(
    attributes="name usageType optype outliers lowValue highValue missingValueReplacement"
    " missingValueTreatment invalidValueTreatment invalidValueReplacement",
    ignored="importance",
)
_USAGES: Final = (
    "active",
    "predicted",
    "target",
    "supplementary",
    "group",
    "order",
    "frequencyWeight",
    "analysisWeight",
)
_OUTLIERS: Final = ("asIs", "asMissingValues", "asExtremeValues")
# All but the last only say where a replacement came from.
_MISSING: Final = ("asIs", "asMean", "asMode", "asMedian", "asValue", "returnInvalid")
_INVALID: Final = {
    "returnInvalid": OnInvalid.REJECT,
    "asIs": OnInvalid.AS_IS,
    "asMissing": OnInvalid.AS_MISSING,
    "asValue": OnInvalid.AS_IS,
}


@dataclass(frozen=True, slots=True)
class MiningField:
    """How a model uses a field, and what it does with odd values of it."""

    name: str
    usage: str
    optype: str | None
    outliers: str
    low: float | None
    high: float | None
    missing_replacement: str | None
    missing_is_invalid: bool
    on_invalid: OnInvalid
    invalid_replacement: str | None
    where: str

    @property
    def is_target(self) -> bool:
        """Whether the model predicts this field."""
        return self.usage in ("predicted", "target")

    def treated(self, column: Column, scope: Scope) -> Column:
        """Return a column after the treatment of outliers, then of missing values."""
        column = self._without_outliers(column, scope)
        if self.missing_replacement is None or not column.missing:
            return column
        graph = scope.graph
        text = self.missing_replacement
        replacement = constant_column(graph, text, column.data_type, self.where)
        missing = graph.is_missing(column.tensor)
        return choose(graph, missing, replacement, column, self.where).known()

    def _without_outliers(self, column: Column, scope: Scope) -> Column:
        if self.outliers == "asIs" or (self.low is None and self.high is None):
            return column
        if column.vocabulary is not None:
            raise NotCompiled(f"{self.where}: outliers of texts are not understood")
        graph, tensor = scope.graph, column.tensor
        as_missing = self.outliers == "asMissingValues"
        for bound, operator in ((self.low, "Less"), (self.high, "Greater")):
            if bound is not None:
                outside = graph.op(operator, tensor, graph.number(bound))
                limit = graph.number(float("nan") if as_missing else bound)
                tensor = graph.where(outside, limit, tensor)
        if column.data_type is DataType.FLOAT:
            tensor = graph.float32(tensor)
        return Column(tensor, column.data_type, missing=column.missing or as_missing)


def read_mining_schema(model: Element) -> list[MiningField]:
    """Read the MiningSchema of a model."""
    return [
        _read(field) for field in _SCHEMA.check(model.need("MiningSchema")).find_all("MiningField")
    ]


def _read(element: Element) -> MiningField:
    _FIELD.check(element)
    treatment = element.choice("invalidValueTreatment", _INVALID, "returnInvalid")
    replacement = element.attributes.get("invalidValueReplacement")
    if (treatment == "asValue") != (replacement is not None):
        raise NotCompiled(
            f"{element.where}: invalidValueTreatment={treatment!r} with"
            f" invalidValueReplacement={replacement!r} is not understood"
        )
    missing_is_invalid = (
        element.choice("missingValueTreatment", _MISSING, "asIs") == "returnInvalid"
    )
    missing_replacement = element.attributes.get("missingValueReplacement")
    if missing_is_invalid and missing_replacement is not None:
        raise ModelRejected(f"{element.where} both replaces missing values and returns invalid")
    return MiningField(
        name=element.require("name"),
        usage=element.choice("usageType", _USAGES, "active"),
        optype=element.attributes.get("optype"),
        outliers=element.choice("outliers", _OUTLIERS, "asIs"),
        low=element.optional_number("lowValue"),
        high=element.optional_number("highValue"),
        missing_replacement=missing_replacement,
        missing_is_invalid=missing_is_invalid,
        on_invalid=_INVALID[treatment],
        invalid_replacement=replacement,
        where=element.where,
    )
