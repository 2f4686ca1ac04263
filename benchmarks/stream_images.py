"""The Crayfish workload: a feed-forward net that reads images of 28 x 28 pixels, and its records.

Crayfish (Horchidan and others, EDBT 2024) compares stream processors by how they serve models; its
smaller model is such a net with some 28,000 parameters. This one has 784 inputs, one hidden layer
of 35 and 10 outputs: 27,835 parameters, drawn at random, since no score is looked at.
"""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

PIXELS, HIDDEN, CLASSES = 784, 35, 10
SEED = 28

_IMAGES = 256  # distinct ones
_DIGITS = 4


def _image_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmarks/image.proto", package="benchmarks", syntax="proto3"
    )
    field = file.message_type.add(name="Image").field.add(name="pixels", number=1)
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE
    field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("benchmarks.Image"))


Image = _image_class()
"""The protobuf message of an image, which its data type names; the records here are JSON."""


def json_images() -> list[bytes]:
    """Return images as JSON objects, the same ones at each call."""
    pixels = np.random.default_rng(SEED).random((_IMAGES, PIXELS)).round(_DIGITS)
    return [orjson.dumps({"pixels": row}) for row in pixels.tolist()]


def write_net(path: Path) -> None:
    """Write the net as an ONNX file; the same bytes at each call, with the same `onnx`."""
    from onnx import TensorProto, helper, save_model

    random = np.random.default_rng(SEED)
    nodes = [
        helper.make_node("Gemm", ["image", "w1", "b1"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights = [
        _tensor("w1", random.normal(0, PIXELS**-0.5, (PIXELS, HIDDEN))),
        _tensor("b1", np.zeros(HIDDEN)),
        _tensor("w2", random.normal(0, HIDDEN**-0.5, (HIDDEN, CLASSES))),
        _tensor("b2", np.zeros(CLASSES)),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", PIXELS])
    scores = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "image-net", [image], [scores], weights)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="benchmarks")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(path))


def _tensor(name: str, values: NDArray[np.float64]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(values.astype(np.float32), name)
