"""The DataDictionary: what the fields of a document are, and which of their values are valid."""

from dataclasses import dataclass
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.model import Interval
from repertory.models.pmml.columns import DataType, data_type_of, number_of
from repertory.models.pmml.intervals import read_interval
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import Element, Shape

_DICTIONARY: Final = Shape(ignored="numberOfFields", children="DataField Taxonomy")
_FIELD: Final = Shape(
    attributes="name optype dataType isCyclic",
    ignored="displayName taxonomy",
    children="Value Interval",
)
_VALUE: Final = Shape(attributes="value property", ignored="displayValue")


@dataclass(frozen=True, slots=True)
class DataField:
    """A field, and the values that its declaration tells apart, in their order.

    `valid` is empty where every value is valid that is not `invalid` and is within `intervals`.
    """

    name: str
    optype: str
    data_type: DataType
    valid: tuple[str, ...]
    invalid: tuple[str, ...]
    missing: tuple[str, ...]
    intervals: tuple[Interval, ...]
    where: str

    @property
    def is_text(self) -> bool:
        """Whether its values are texts."""
        return self.data_type is DataType.STRING

    def valid_intervals(self) -> tuple[Interval, ...]:
        """Return where a number is valid; what stands for a missing value counts as valid."""
        if not (self.valid or self.intervals or self.invalid):
            return ()
        intervals = self.intervals
        if not intervals and not self.valid:
            intervals = (Interval(),)
        for text in self.invalid:
            number = number_of(text, self.data_type, self.where)
            intervals = tuple(part for whole in intervals for part in _without(whole, number))
        points = (number_of(text, self.data_type, self.where) for text in self.valid + self.missing)
        return intervals + tuple(Interval(point, point) for point in points)


def _without(whole: Interval, point: float) -> tuple[Interval, ...]:
    """Return an interval less one point of it."""
    if (whole.low is not None and point < whole.low) or (
        whole.high is not None and point > whole.high
    ):
        return (whole,)
    return (
        Interval(whole.low, point, whole.low_closed, False),
        Interval(point, whole.high, False, whole.high_closed),
    )


class Dictionary:
    """The fields of a document. A field that is not understood is refused when it is asked for."""

    def __init__(self, root: Element) -> None:
        element = _DICTIONARY.check(root.need("DataDictionary"))
        self._elements = {field.require("name"): field for field in element.find_all("DataField")}

    def __contains__(self, name: str) -> bool:
        return name in self._elements

    def field(self, name: str) -> DataField:
        """Return a field. Raises ModelRejected when there is none, NotCompiled for one not known."""
        if name not in self._elements:
            raise ModelRejected(f"the field {name!r} is not in the <DataDictionary>")
        return _read(self._elements[name])


def _read(element: Element) -> DataField:
    _FIELD.check(element)
    if element.get("isCyclic", "0") not in ("0", "false"):
        raise NotCompiled(
            f"{element.where}: isCyclic={element.get('isCyclic')!r} is not understood"
        )
    values: dict[str, list[str]] = {"valid": [], "invalid": [], "missing": []}
    for value in map(_VALUE.check, element.find_all("Value")):
        values[value.choice("property", values, "valid")].append(value.require("value"))
    return DataField(
        name=element.require("name"),
        optype=element.choice("optype", ("continuous", "categorical", "ordinal"), "categorical"),
        data_type=data_type_of(element),
        valid=tuple(values["valid"]),
        invalid=tuple(values["invalid"]),
        missing=tuple(values["missing"]),
        intervals=tuple(map(read_interval, element.find_all("Interval"))),
        where=element.where,
    )
