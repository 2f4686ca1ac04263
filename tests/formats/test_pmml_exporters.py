"""PMML of every model kind and several exporters: what the library that trained it answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.models.model import Engine, PreparedModel

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pmml"
FILES = sorted(str(path.relative_to(FIXTURES)) for path in FIXTURES.glob("*/*.pmml"))
# Kinds that are not compiled: the engine of the format scores them.
NOT_COMPILED = {"sklearn2pmml/naive-bayes.pmml", "sklearn2pmml/support-vectors.pmml"}
# Files that say what to do about missing measurements.
ACCEPTING_HOLES = sorted(
    f"{folder.name}/{key.partition('.')[0]}.pmml"
    for folder in FIXTURES.iterdir()
    if (folder / "expected.npz").exists()
    for key in np.load(folder / "expected.npz")
    if key.endswith((".holes.values", ".holes.labels"))
)

Prepare = Callable[[Path], PreparedModel]
AssertAgrees = Callable[[Path, PreparedModel, NDArray[np.float64]], None]


@pytest.mark.parametrize("file", FILES)
def test_pmml_answers_what_its_library_answers(
    file: str, prepare: Prepare, assert_agrees: AssertAgrees, wines: NDArray[np.float64]
) -> None:
    prepared = prepare(FIXTURES / file)
    assert prepared.engine is (Engine.PYPMML if file in NOT_COMPILED else Engine.ONNX)
    assert_agrees(FIXTURES / file, prepared, wines)


@pytest.mark.parametrize("file", ACCEPTING_HOLES)
def test_pmml_treats_missing_measurements_as_its_library_does(
    file: str, prepare: Prepare, assert_agrees: AssertAgrees, wines_with_holes: NDArray[np.float64]
) -> None:
    assert_agrees(FIXTURES / file, prepare(FIXTURES / file), wines_with_holes)


def test_each_model_kind_is_written_by_more_than_one_exporter() -> None:
    kinds = ("TreeModel", "RegressionModel", "GeneralRegressionModel", "NeuralNetwork")
    for kind in (*kinds, "MiningModel"):
        written = [file for file in FILES if f"<{kind} " in (FIXTURES / file).read_text()]
        assert len({file.partition("/")[0] for file in written}) > 1, kind


def test_every_oracle_has_an_answer_for_each_wine(wines: NDArray[np.float64]) -> None:
    for folder in {(FIXTURES / file).parent for file in FILES}:
        with np.load(folder / "expected.npz") as expected:
            for key in expected:
                assert key.endswith(".classes") or len(expected[key]) == len(wines), key
