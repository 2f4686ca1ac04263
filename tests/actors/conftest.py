"""What the tests of actors share: a small model that serves, and waiting without sleeping."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repertory.actors.messages import StageModel
from repertory.models.model import Engine, InputFeature, InputTensor, PreparedModel, Signature, Task
from repertory.models.prepared import save_prepared

Waiter = Callable[..., None]
Stager = Callable[[int], StageModel]


@pytest.fixture(scope="session")
def wait_for() -> Waiter:
    """Return `_wait_for`."""
    return _wait_for


def _wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `condition` holds, and fail if it does not within `seconds`."""
    end = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        assert time.monotonic() < end, f"this did not come true within {seconds} s"
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def sum_plus(constant: float) -> PreparedModel:
    """Return a regression: pH + alcohol + `constant`."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 1])],
        [
            numpy_helper.from_array(np.ones((2, 1)), "w"),
            numpy_helper.from_array(np.full(1, float(constant)), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    features = (InputFeature("pH"), InputFeature("alcohol"))
    signature = Signature(
        Task.REGRESSION, (InputTensor("x", "float64", features),), value_output="y"
    )
    return PreparedModel(Engine.ONNX, onnx.ModelProto.SerializeToString(model), signature)


@pytest.fixture
def stager(tmp_path: Path) -> Stager:
    """Return what prepares the model `sum_plus(version)` on disk, and says how to stage it."""

    def stage(version: int) -> StageModel:
        folder = tmp_path / "models" / str(version)
        save_prepared(sum_plus(version), folder)
        return StageModel(
            data_type="wine",
            position=version,
            version=version,
            name=f"sum-{version}",
            description="",
            model_type="ONNX",
            sha256=f"{version:064x}",
            folder=str(folder),
        )

    return stage
