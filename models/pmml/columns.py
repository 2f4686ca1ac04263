"""What a field of a PMML document is in the graph: a column of doubles, and what they stand for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from repertory.errors import ModelRejected
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import At, Element, parse_number

# What a text that no column can hold is compared as; -1 is a text that is not in the vocabulary.
_NEVER: Final = -2


class DataType(StrEnum):
    """PMML's data types that are compiled."""

    DOUBLE = "double"
    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"


class Vocabulary:
    """The texts that the numbers of a column stand for, by index.

    A closed one has all texts that the column can hold. An open one grows with each text that the
    model compares the column with; any other is -1, equal to none of them.
    """

    def __init__(self, texts: Iterable[str], *, is_open: bool = False) -> None:
        self._places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        self.is_open = is_open

    @property
    def texts(self) -> list[str]:
        """The texts, in the order of their numbers."""
        return list(self._places)

    def index(self, text: str) -> int:
        """Return the number of a text; a closed vocabulary gives an unknown one a number of its own."""
        if text not in self._places:
            if not self.is_open:
                return _NEVER
            self._places[text] = len(self._places)
        return self._places[text]


@dataclass(frozen=True, slots=True)
class Column:
    """A tensor [n, 1] of doubles, NaN where missing.

    Texts are indices into `vocabulary`, truths are 1 and 0, a FLOAT holds float32 numbers only.
    `constant` is the text of a constant. `missing` is whether the column can hold NaN at all.
    """

    tensor: str
    data_type: DataType
    vocabulary: Vocabulary | None = None
    constant: str | None = None
    missing: bool = True

    def known(self) -> "Column":
        """Return this column, known to hold no NaN."""
        return replace(self, missing=False)

    def code(self, text: str, at: At) -> float:
        """Return the number that stands for a text of the document in this column."""
        if self.vocabulary is not None:
            return float(self.vocabulary.index(text))
        return number_of(text, self.data_type, at)


def number_of(text: str, data_type: DataType, at: At) -> float:
    """Return the number that a text is in a data type. Raises ModelRejected when it is none."""
    if data_type is DataType.BOOLEAN and text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    number = parse_number(text, at)
    return float(np.float32(number)) if data_type is DataType.FLOAT else number


def data_type_of(element: Element, default: DataType | None = None) -> DataType:
    """Return the data type that an element states. Raises NotCompiled for dates, times and others."""
    if default is not None and "dataType" not in element.attributes:
        return default
    name = element.require("dataType")
    try:
        return DataType(name)
    except ValueError:
        raise NotCompiled(f"{element.where}: dataType={name!r} is not understood") from None


_INTEGER: Final = re.compile(r"[+-]?\d{1,15}")


def constant_column(graph: Arithmetic, text: str, data_type: DataType | None, where: str) -> Column:
    """Return a constant; without a data type it is what it looks like."""
    if data_type is None:
        data_type = _apparent(text)
    if data_type is DataType.STRING:
        return Column(graph.number(0.0), data_type, Vocabulary([text]), text, missing=False)
    number = number_of(text, data_type, where)
    return Column(graph.number(number), data_type, None, text, missing=np.isnan(number).item())


def _apparent(text: str) -> DataType:
    if _INTEGER.fullmatch(text):
        return DataType.INTEGER
    try:
        parse_number(text, "")
    except ModelRejected:
        return DataType.STRING
    return DataType.DOUBLE


def numeric(column: Column, where: str) -> Column:
    """Return the column. Raises NotCompiled when it holds texts where numbers are due."""
    if column.vocabulary is not None:
        raise NotCompiled(f"{where}: a text stands where a number is due")
    return column


def cast(graph: Arithmetic, column: Column, data_type: DataType, where: str) -> Column:
    """Return a column in another data type. Raises NotCompiled for what may lose something."""
    if column.data_type is data_type:
        return column
    if column.constant is not None:
        return constant_column(graph, column.constant, data_type, where)
    if DataType.STRING in (column.data_type, data_type):
        return _cast_text(graph, column, data_type, where)
    if data_type is DataType.FLOAT:
        return replace(column, tensor=graph.float32(column.tensor), data_type=data_type)
    wide = data_type is DataType.DOUBLE
    if wide or (data_type is DataType.INTEGER and column.data_type is DataType.BOOLEAN):
        return replace(column, data_type=data_type)
    raise NotCompiled(f"{where}: {column.data_type} is not made {data_type} here")


def _cast_text(graph: Arithmetic, column: Column, data_type: DataType, where: str) -> Column:
    """Return the numbers that the texts of a closed vocabulary spell."""
    vocabulary = column.vocabulary
    if vocabulary is None or vocabulary.is_open or data_type is DataType.STRING:
        raise NotCompiled(f"{where}: {column.data_type} is not made {data_type} here")
    numbers = [number_of(text, data_type, where) for text in vocabulary.texts]
    return Column(graph.look_up(numbers, column.tensor), data_type, missing=column.missing)


def unite(graph: Arithmetic, columns: list[Column], where: str) -> tuple[list[Column], Vocabulary]:
    """Return columns of texts re-coded to one vocabulary, and that.

    An open vocabulary takes in the constants; two columns that both can hold any text are refused.
    """
    vocabularies = [column.vocabulary for column in columns if column.constant is None]
    shared = next((v for v in vocabularies if v is not None and v.is_open), None)
    if shared is None:
        texts = [text for c in columns if c.vocabulary is not None for text in c.vocabulary.texts]
        shared = Vocabulary(texts)
    return [_recode(graph, column, shared, where) for column in columns], shared


def _recode(graph: Arithmetic, column: Column, shared: Vocabulary, where: str) -> Column:
    vocabulary = column.vocabulary
    if vocabulary is None or (vocabulary.is_open and vocabulary is not shared):
        raise NotCompiled(f"{where}: these texts are not brought together here")
    if vocabulary is shared:
        return column
    if column.constant is not None:
        number = graph.number(float(shared.index(column.constant)))
        return replace(column, tensor=number, vocabulary=shared)
    table = [float(shared.index(text)) for text in vocabulary.texts]
    return replace(column, tensor=graph.look_up(table, column.tensor), vocabulary=shared)
