"""What the acceptance tests of formats share: the wines, the green room, and oracles.

An oracle is what the library that trained a model answers for all 1,599 wines; it lies beside the
model in expected.npz, written by examples/wine/train_models.py and tests/fixtures/pmml/make.
"""

import csv
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.config import DataType, Models
from repertory.models.green_room import GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Columns, Outcomes, PreparedModel, Schema
from repertory.models.schema import schema_of
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

ROOT = Path(__file__).parents[2]
WINES = ROOT / "examples" / "wine" / "data" / "winequality-red.csv"
FEATURES = tuple(WINES.read_text().partition("\n")[0].split(","))[:11]
MODEL_TYPES = {
    ".pmml": ModelDescriptor.PMML,
    ".onnx": ModelDescriptor.ONNX,
    ".pb": ModelDescriptor.TENSORFLOW,
    ".zip": ModelDescriptor.TENSORFLOWSAVED,
}
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Return the schema of the example's wines."""
    message = "repertory.protos.winerecord_pb2:WineRecord"
    return schema_of("wine", DataType(message=message, features=FEATURES))


@pytest.fixture(scope="session")
def prepare(schema: Schema) -> Iterator[Callable[[Path], PreparedModel]]:
    """Return a function that publishes a model file to a green room."""
    green_room = GreenRoom(Models(), {"wine": schema})

    @cache
    def publish(path: Path) -> PreparedModel:
        descriptor = ModelDescriptor(
            name=path.stem,
            dataType="wine",
            modeltype=MODEL_TYPES[path.suffix],
            data=path.read_bytes(),
        )
        return green_room.prepare(descriptor.SerializeToString()).prepared

    yield publish
    green_room.close()


@pytest.fixture(scope="session")
def wines() -> NDArray[np.float64]:
    """Return the measurements of all wines, [1599, 11]."""
    with WINES.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows, np.float64)[:, : len(FEATURES)]


@pytest.fixture(scope="session")
def wines_with_holes(wines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the wines with one or two measurements missing, as make/fixtures.py leaves them out."""
    row, column = np.indices(wines.shape)
    width = wines.shape[1]
    return np.where((column == row % width) | (column == row // width % width), np.nan, wines)


@pytest.fixture(scope="session")
def assert_agrees() -> Callable[[Path, PreparedModel, NDArray[np.float64]], None]:
    """Return a function that asserts that a model answers wines as the oracle of its file says."""
    return _assert_agrees


def _assert_agrees(path: Path, prepared: PreparedModel, wines: NDArray[np.float64]) -> None:
    model = load_model(prepared)
    try:
        outcomes = model.score(Columns(len(wines), dict(zip(FEATURES, wines.T, strict=True))))
    finally:
        model.close()
    assert not outcomes.failures, next(iter(outcomes.failures.items()))
    oracle = _oracle(path, "holes." if np.isnan(wines).any() else "")
    if "values" in oracle:
        _assert_close(outcomes.values, oracle["values"])
    else:
        _assert_same_classes(outcomes, oracle)


def _oracle(path: Path, variant: str) -> dict[str, NDArray[Any]]:
    prefix = f"{path.stem}.{variant}"
    with np.load(path.with_name("expected.npz")) as expected:
        return {
            key.removeprefix(prefix): expected[key] for key in expected if key.startswith(prefix)
        }


def _assert_close(answers: NDArray[np.float64] | None, oracle: NDArray[np.float64]) -> None:
    assert answers is not None
    np.testing.assert_allclose(answers, oracle, rtol=TOLERANCE, atol=TOLERANCE)


def _assert_same_classes(outcomes: Outcomes, oracle: dict[str, NDArray[Any]]) -> None:
    assert outcomes.chosen is not None
    labels = np.array(outcomes.labels)[outcomes.chosen]
    np.testing.assert_array_equal(labels, oracle["labels"])
    if "probabilities" in oracle:
        assert outcomes.probabilities is not None
        columns = [outcomes.labels.index(label) for label in oracle["classes"].tolist()]
        _assert_close(outcomes.probabilities[:, columns], oracle["probabilities"])
