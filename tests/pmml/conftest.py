"""What the tests of the PMML compiler share: a document around a model, and its answers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.models.loader import load_model
from repertory.models.model import Columns, Feature, FeatureKind, Outcomes, PreparedModel, Schema
from repertory.models.pmml.compiler import compile_pmml

Cells = Sequence[float | None] | Sequence[str | None]


@dataclass(frozen=True)
class Answers:
    """What a model answers for some records; None where one has failed."""

    prepared: PreparedModel
    outcomes: Outcomes

    @property
    def values(self) -> list[float | None]:
        """The numbers."""
        assert self.outcomes.values is not None
        failed = self.outcomes.failures
        return [None if i in failed else v for i, v in enumerate(self.outcomes.values.tolist())]

    @property
    def labels(self) -> list[str | None]:
        """The classes."""
        assert self.outcomes.chosen is not None
        failed, labels = self.outcomes.failures, self.outcomes.labels
        chosen = enumerate(self.outcomes.chosen.tolist())
        return [None if i in failed else labels[place] for i, place in chosen]

    @property
    def probabilities(self) -> list[dict[str, float]]:
        """The probabilities, rounded, by class; empty where a record has failed."""
        assert self.outcomes.probabilities is not None
        rows = enumerate(self.outcomes.probabilities.round(12).tolist())
        labels = self.outcomes.labels
        return [
            {} if i in self.outcomes.failures else dict(zip(labels, row, strict=True))
            for i, row in rows
        ]

    @property
    def failures(self) -> list[str | None]:
        """The messages of failed records, None for the others."""
        failures = self.outcomes.failures
        return [failures[i].message if i in failures else None for i in range(self.outcomes.count)]


Compile = Callable[..., PreparedModel]
Score = Callable[..., Answers]


@pytest.fixture(scope="session")
def compiled() -> Compile:
    """Return a function that compiles a document around a model; see `_document`."""

    def compile_(model: str, *, columns: Mapping[str, Cells], **parts: str) -> PreparedModel:
        features = tuple(_feature(name, cells) for name, cells in columns.items())
        document = _document(model, columns, **parts)
        return compile_pmml(document.encode(), Schema("test", features))

    return compile_


@pytest.fixture(scope="session")
def score(compiled: Compile) -> Score:
    """Return a function that compiles a document, and scores the records in its keyword arguments.

    A column is a list of numbers or of texts; None is missing.
    """

    def score_(
        model: str,
        *,
        fields: str = "",
        mining: str = "",
        transformations: str = "",
        **columns: Cells,
    ) -> Answers:
        prepared = compiled(
            model, columns=columns, fields=fields, mining=mining, transformations=transformations
        )
        arrays = {name: _array(cells) for name, cells in columns.items()}
        count = len(next(iter(arrays.values())))
        loaded = load_model(prepared)
        try:
            return Answers(prepared, loaded.score(Columns(count, arrays)))
        finally:
            loaded.close()

    return score_


def _document(
    model: str,
    columns: Mapping[str, Cells],
    *,
    fields: str = "",
    mining: str = "",
    transformations: str = "",
) -> str:
    """Return a document with a model, in which every <MiningSchema/> is filled.

    Each column is a field, of double or string, and active in each mining schema, unless `fields`
    or `mining` declare it.
    """
    for name, cells in columns.items():
        if f'name="{name}"' not in fields:
            fields += f'<DataField name="{name}" {_TEXT if _is_text(cells) else _NUMBER}/>'
        if f'name="{name}"' not in mining:
            mining += f'<MiningField name="{name}"/>'
    return f"""<?xml version="1.0"?>
    <PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
      <Header/>
      <DataDictionary>{fields}</DataDictionary>
      <TransformationDictionary>{transformations}</TransformationDictionary>
      {model.replace("<MiningSchema/>", f"<MiningSchema>{mining}</MiningSchema>")}
    </PMML>"""


_TEXT = 'optype="categorical" dataType="string"'
_NUMBER = 'optype="continuous" dataType="double"'


def _is_text(cells: Cells) -> bool:
    return any(isinstance(cell, str) for cell in cells)


def _feature(name: str, cells: Cells) -> Feature:
    return Feature(name, FeatureKind.TEXT if _is_text(cells) else FeatureKind.NUMBER)


def _array(cells: Cells) -> NDArray[np.float64] | NDArray[np.object_]:
    if _is_text(cells):
        return np.array(cells, np.object_)
    return np.array([math.nan if cell is None else cell for cell in cells], np.float64)
