"""Every format, compiled: on all wines, what the library that trained the model answers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.models.model import Engine, PreparedModel

MODELS = Path(__file__).parents[2] / "examples" / "wine" / "models"
MANIFEST = json.loads((MODELS / "models.json").read_text())


@pytest.mark.parametrize("entry", MANIFEST, ids=[entry["file"] for entry in MANIFEST])
def test_compiled_model_answers_what_its_library_answers(
    entry: dict[str, str],
    prepare: Callable[[Path], PreparedModel],
    assert_agrees: Callable[[Path, PreparedModel, NDArray[np.float64]], None],
    wines: NDArray[np.float64],
) -> None:
    prepared = prepare(MODELS / entry["file"])
    assert prepared.engine is Engine.ONNX
    assert prepared.signature.task == entry["task"]
    assert_agrees(MODELS / entry["file"], prepared, wines)
