"""A model that takes a while for a full batch."""

import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper, save_model

BATCH = 1024
"""Records of a full batch: `max_batch` of a data type, by default."""

_SIZE = 512
_TRIAL = 10  # products of matrices by which the speed of this machine is told


def write_slow_model(path: Path, *, features: int, seconds: float) -> int:
    """Write a model that takes about `seconds` for a full batch; return how many products it makes.

    It is a long chain of products of matrices, which adds nothing to the answer, the sum of a
    record. Few records take less: the green room, which tries a model with some, must not wait.
    """
    count = max(1, round(_TRIAL * seconds / _seconds(_chain(features, _TRIAL), features)))
    save_model(_chain(features, count), str(path))
    return count


def _chain(features: int, count: int) -> ModelProto:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(_SIZE, _SIZE)))
    constants = {
        "spread": np.ones((features, _SIZE)) / _SIZE,
        "rotation": rotation,
        "nothing": np.zeros((1, 1)),
        "ones": np.ones((features, 1)),
    }
    steps = [helper.make_node("MatMul", ["state0", "rotation"], ["state1"])]
    for number in range(1, count):
        names = [f"state{number}", "rotation"]
        steps.append(helper.make_node("MatMul", names, [f"state{number + 1}"]))
    nodes = [
        helper.make_node("MatMul", ["records", "spread"], ["state0"]),
        *steps,
        helper.make_node("ReduceMean", [f"state{count}"], ["last"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["last", "nothing"], ["zero"]),
        helper.make_node("MatMul", ["records", "ones"], ["sums"]),
        helper.make_node("Add", ["sums", "zero"], ["value"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("records", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _seconds(model: ModelProto, features: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    records = {"records": np.ones((BATCH, features), np.float32)}
    session.run(None, records)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        session.run(None, records)
        times.append(time.perf_counter() - begin)
    return min(times)
