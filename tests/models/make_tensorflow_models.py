"""Writes the TensorFlow models that tests publish, good and hostile, into a folder.

Run as a process of its own, so that TensorFlow is imported once and never by pytest:
`python tests/models/make_tensorflow_models.py FOLDER`.
"""

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
FEATURES = 11
WEIGHTS = np.random.default_rng(5).normal(scale=0.01, size=(FEATURES, 3)).astype(np.float32)
RECORDS = np.random.default_rng(6).uniform(0, 20, (16, FEATURES)).astype(np.float32)


def frozen(make: Callable[[Any], object], *, width: int | None = FEATURES) -> bytes:
    """Return a graph of one placeholder; without a width its shape is unknown."""
    graph = tf.Graph()
    with graph.as_default():
        make(v1.placeholder(tf.float32, None if width is None else [None, width], name="wine"))
    return bytes(graph.as_graph_def().SerializeToString())


def zipped(folder: Path, inside: str = "") -> bytes:
    """Return a folder as a zip, all files below the name `inside`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(inside) / path.relative_to(folder))
    return buffer.getvalue()


class Network(tf.Module):  # type: ignore[misc]
    """Two variables of one name, which only their place in the object graph tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.plus = tf.Variable(3 * WEIGHTS, name="weights")
        self.minus = tf.Variable(2 * WEIGHTS, name="weights")

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="wine")])  # type: ignore[untyped-decorator]
    def serve(self, wine: Any) -> dict[str, Any]:
        """Return probabilities."""
        return {"quality": tf.nn.softmax(wine @ self.plus - wine @ self.minus)}

    @tf.function  # type: ignore[untyped-decorator]
    def add(self, **features: Any) -> dict[str, Any]:
        """Return the sum of the features, each an input of its own."""
        return {"total": tf.add_n(list(features.values()))}


class Sure(tf.Module):  # type: ignore[misc]
    """Says how sure it is, beside a label and beside a value."""

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="wine")])  # type: ignore[untyped-decorator]
    def serve(self, wine: Any) -> dict[str, Any]:
        """Return the most probable class, and how probable it is."""
        probabilities = tf.nn.softmax(wine @ WEIGHTS)
        return {
            "label": tf.argmax(probabilities, 1),
            "confidence": tf.reduce_max(probabilities, 1),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="wine")])  # type: ignore[untyped-decorator]
    def add(self, wine: Any) -> dict[str, Any]:
        """Return a sum, with an operator that ONNX does not have in the confidence."""
        confidence = tf.math.lgamma(wine[:, :1] + 1.0)
        return {"total": tf.reduce_sum(wine, 1), "Confidence": confidence}


class Table(tf.Module):  # type: ignore[misc]
    """A lookup table, which is filled when the model is loaded."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.constant([1, 2], tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.constant([3.0, 4.0]))
        self.table = tf.lookup.StaticHashTable(initializer, 0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="wine")])  # type: ignore[untyped-decorator]
    def serve(self, wine: Any) -> dict[str, Any]:
        """Return what the table holds for the first feature."""
        return {"value": self.table.lookup(tf.cast(wine[:, 0], tf.int64))}


def old_saved_model(folder: Path, *, resource: bool, main_op: Callable[[], Any] | None) -> None:
    """Write a SavedModel as TensorFlow 1 did: variables by name, no object graph."""
    with tf.Graph().as_default(), v1.Session() as session:
        wine = v1.placeholder(tf.float32, [None, FEATURES], name="input")
        weights = v1.get_variable("weights", initializer=WEIGHTS, use_resource=resource)
        quality = tf.nn.softmax(wine @ weights)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"wine": wine}, {"quality": quality})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=main_op() if main_op else None,
        )
        builder.save()


def main(folder: Path) -> None:
    """Write all models."""

    def both(wine: Any) -> None:
        probabilities = tf.nn.softmax(wine @ WEIGHTS)
        tf.argmax(probabilities, 1)
        tf.identity(probabilities)

    def sure_of(wine: Any) -> None:
        probabilities = tf.nn.softmax(wine @ WEIGHTS)
        tf.argmax(probabilities, 1)
        tf.reduce_max(probabilities, 1, name="confidence")

    def endless(wine: Any) -> object:
        (turns,) = tf.while_loop(
            lambda turns: turns >= 0.0, lambda turns: turns, [tf.reduce_sum(tf.abs(wine))]
        )
        return wine[:, :1] + turns

    def reads(wine: Any) -> object:
        return wine[:, :1] + tf.strings.to_number(tf.io.read_file("/etc/hostname"))

    def writes(wine: Any) -> object:
        tf.raw_ops.WriteFile(filename=str(folder / "written"), contents="x")
        return wine[:, :1]

    def hidden(wine: Any) -> object:
        @tf.function  # type: ignore[untyped-decorator]
        def inside(value: Any) -> Any:
            return value + tf.strings.to_number(tf.io.read_file("/etc/hostname"))

        return inside(wine)

    graphs = {
        "softmax": frozen(lambda wine: tf.nn.softmax(wine @ WEIGHTS)),
        "unknown-shape": frozen(lambda wine: tf.nn.softmax(tf.matmul(wine, WEIGHTS)), width=None),
        "logits": frozen(lambda wine: wine @ WEIGHTS),
        "value": frozen(lambda wine: tf.reduce_sum(wine, 1)),
        "both": frozen(both),
        "frozen-sure": frozen(sure_of),
        "lgamma": frozen(lambda wine: tf.math.lgamma(wine[:, :3] + 1.0)),
        "wide": frozen(lambda wine: wine @ np.ones((13, 2), np.float32), width=13),
        "reads": frozen(reads),
        "writes": frozen(writes),
        "hidden": frozen(hidden),
        "python": frozen(lambda wine: tf.numpy_function(lambda a: a, [wine], tf.float32)),
        "endless": frozen(endless),
        "allocates": frozen(
            lambda wine: (
                wine[:, :1] + tf.reduce_sum(tf.zeros([tf.shape(wine)[0] * 25 * 2**15, 2**15]))
            )
        ),
    }
    for name, content in graphs.items():
        (folder / f"{name}.pb").write_bytes(content)

    network, table, sure = Network(), Table(), Sure()
    features = [f"feature_{i}" for i in range(FEATURES)]
    if len(sys.argv) > 2:
        features = sys.argv[2].split(",")
    named = network.add.get_concrete_function(
        **{name: tf.TensorSpec([None, 1], tf.float32, name=name) for name in features}
    )
    for name, module, signature in (
        ("network", network, network.serve),
        ("named", network, named),
        ("table", table, table.serve),
        ("sure", sure, sure.serve),
        ("sure-value", sure, sure.add),
    ):
        tf.saved_model.save(module, str(folder / name), signatures=signature)
    old_saved_model(folder / "old", resource=False, main_op=None)
    old_saved_model(folder / "old-resource", resource=True, main_op=None)
    old_saved_model(
        folder / "main-op",
        resource=False,
        main_op=lambda: tf.raw_ops.WriteFile(filename=str(folder / "written"), contents="x"),
    )
    saved = ("network", "named", "table", "sure", "sure-value", "old", "old-resource", "main-op")
    for name in saved:
        (folder / f"{name}.zip").write_bytes(zipped(folder / name))
    (folder / "nested.zip").write_bytes(zipped(folder / "network", inside="model/1"))
    np.savez(
        folder / "expected.npz",
        records=RECORDS,
        softmax=tf.nn.softmax(RECORDS @ WEIGHTS).numpy(),
        lgamma=tf.math.lgamma(RECORDS[:, :3] + 1.0).numpy(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
