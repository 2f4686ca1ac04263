"""Every format, on its own engine in a worker process: what the library that trained it answers.

What serves a model that cannot be compiled must answer like the compiled one. Here the compilers
are made to give up on everything.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.models import pmml_check
from repertory.models.model import Engine, PreparedModel, Schema
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml_check import prepare_pmml
from repertory.models.prepared import load_prepared

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "wine" / "models"
FIXTURES = ROOT / "tests" / "fixtures" / "pmml"
OURS = [path.name for path in sorted(MODELS.glob("*.pmml"))]
# Each kind from two exporters, and each way of combining models: not all, for each starts two JVMs.
OTHERS = [
    "sparkml/decision-tree",
    "sparkml/random-forest-sparse",
    "sparkml/logistic-regression",
    "sparkml/glm-poisson-log",
    "sparkml/binary-gradient-boosting",
    "sklearn2pmml/hist-gradient-boosting",
    "sklearn2pmml/linear-regression-transformations",
    "sklearn2pmml/mlp",
    "sklearn2pmml/voting",
    "sklearn2pmml/regression-select-first",
    "jpmml-r/decision-tree",
    "jpmml-r/binary-random-forest",
    "jpmml-r/binary-glm-probit",
    "jpmml-r/regression-mlp",
    "r-pmml-style/lm",
]
WITH_HOLES = [
    "sklearn2pmml/binary-lightgbm",
    "r-pmml-style/rpart-classification",
]

AssertAgrees = Callable[[Path, PreparedModel, NDArray[np.float64]], None]
Prepare = Callable[[Path], PreparedModel]


@pytest.fixture
def prepare_uncompiled(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Return a function that prepares PMML as if the compiler did not know it."""

    def give_up(_content: bytes, _schema: Schema) -> PreparedModel:
        raise NotCompiled("the compiler gives up")

    monkeypatch.setattr(pmml_check, "compile_pmml", give_up)
    return lambda path: prepare_pmml(path.read_bytes(), schema)


@pytest.mark.parametrize("file", OURS)
def test_pmml_of_the_example_on_pmml4s(
    file: str,
    prepare_uncompiled: Prepare,
    assert_agrees: AssertAgrees,
    wines: NDArray[np.float64],
) -> None:
    prepared = prepare_uncompiled(MODELS / file)
    assert prepared.engine is Engine.PYPMML
    assert_agrees(MODELS / file, prepared, wines)


@pytest.mark.parametrize("name", OTHERS)
def test_pmml_of_other_exporters_on_pmml4s(
    name: str,
    prepare_uncompiled: Prepare,
    assert_agrees: AssertAgrees,
    wines: NDArray[np.float64],
) -> None:
    path = FIXTURES / f"{name}.pmml"
    prepared = prepare_uncompiled(path)
    assert prepared.engine is Engine.PYPMML
    assert_agrees(path, prepared, wines)


@pytest.mark.parametrize("name", WITH_HOLES)
def test_missing_measurements_on_pmml4s(
    name: str,
    prepare_uncompiled: Prepare,
    assert_agrees: AssertAgrees,
    wines_with_holes: NDArray[np.float64],
) -> None:
    path = FIXTURES / f"{name}.pmml"
    assert_agrees(path, prepare_uncompiled(path), wines_with_holes)


@pytest.mark.parametrize("file", ["04-mlp-saved-model.zip", "07-mlp-frozen-graph.pb"])
def test_tensorflow_models_on_tensorflow(
    file: str,
    schema: Schema,
    assert_agrees: AssertAgrees,
    wines: NDArray[np.float64],
    tmp_path: Path,
) -> None:
    names = [feature.name for feature in schema.features]
    # TensorFlow is imported in a process of its own, as everywhere.
    script = [sys.executable, str(Path(__file__).parent / "keep_tensorflow.py")]
    subprocess.run([*script, str(MODELS / file), str(tmp_path / "prepared"), *names], check=True)
    prepared = load_prepared(tmp_path / "prepared")
    assert prepared.engine is Engine.TENSORFLOW
    assert_agrees(MODELS / file, prepared, wines)
