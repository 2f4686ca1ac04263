"""Trains the models of this example and exports them in every format that Repertory serves.

Writes to models/: the models; models.json, which says what they are; and expected.npz, what the
library that trained each model answers for all 1,599 wines (`<stem>.labels`, `<stem>.classes` and
`<stem>.probabilities` of a classifier, `<stem>.values` of a regression), the oracle of the tests.
Writes to models/bad/ one whose export went wrong, for `make rendezvous`.

    pip install "repertory[all]" scikit-learn skl2onnx
    python examples/wine/train_models.py
"""

import csv
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from warnings import catch_warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # other roundings from one machine to the next

import numpy as np
import tensorflow as tf
from pmml_writer import PmmlWriter
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = Path(__file__).parent
SEED = 7
OPSETS = {"": 17, "ai.onnx.ml": 3}  # old enough for every ONNX Runtime that we support
MODEL_TYPES = {
    "pmml": "PMML",
    "onnx": "ONNX",
    "zip": "TENSORFLOWSAVED",
    "pb": "TENSORFLOW",
}  # by file extension, as ModelDescriptor names them
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that the same model gives the same bytes


@dataclass(frozen=True, slots=True)
class Wines:
    """What the models are trained on."""

    names: list[str]  # of the columns, as WineRecord has them
    inputs: np.ndarray  # float64[n, 11]
    qualities: np.ndarray  # int[n], 3 to 8


class Gallery:
    """The folder of exported models, with its manifest and oracle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifest: list[dict[str, str]] = []
        self._expected: dict[str, np.ndarray] = {}

    def add_classifier(
        self,
        file: str,
        content: bytes,
        description: str,
        *,
        classes: np.ndarray,
        probabilities: np.ndarray,
    ) -> None:
        """Add a classifier and what it answers: the arg-max class, and the probabilities."""
        stem = self._add(file, content, description, "classification")
        names = classes.astype(str)
        self._expected[f"{stem}.classes"] = names
        self._expected[f"{stem}.labels"] = names[probabilities.argmax(axis=1)]
        self._expected[f"{stem}.probabilities"] = probabilities

    def add_regression(
        self, file: str, content: bytes, description: str, *, values: np.ndarray
    ) -> None:
        """Add a regression and what it answers."""
        stem = self._add(file, content, description, "regression")
        self._expected[f"{stem}.values"] = values

    def close(self) -> None:
        """Write the manifest, in the order in which `make run` publishes, and the oracle."""
        manifest = sorted(self._manifest, key=itemgetter("file"))
        (self._folder / "models.json").write_text(json.dumps(manifest, indent=2) + "\n")
        np.savez_compressed(self._folder / "expected.npz", **self._expected)

    def _add(self, file: str, content: bytes, description: str, task: str) -> str:
        (self._folder / file).write_bytes(content)
        stem, _, extension = file.partition(".")
        self._manifest.append(
            {
                "file": file,
                "name": stem.partition("-")[2],
                "description": description,
                "modelType": MODEL_TYPES[extension],
                "task": task,
            }
        )
        return stem


def main() -> None:
    """Train and export everything."""
    wines = _read_wines()
    gallery = Gallery(HERE / "models")
    # The names that the data has at UCI: Repertory matches them with the record's names.
    writer = PmmlWriter([name.replace("_", " ") for name in wines.names], "quality")
    _add_trees(gallery, wines, writer)
    _add_linear(gallery, wines, writer)
    _add_mlps(gallery, wines, writer)
    _add_tensorflow(gallery, wines)
    gallery.close()


def _add_trees(gallery: Gallery, wines: Wines, writer: PmmlWriter) -> None:
    tree = DecisionTreeClassifier(max_depth=6, random_state=SEED)
    forest = RandomForestClassifier(n_estimators=40, max_leaf_nodes=64, random_state=SEED)
    small_forest = RandomForestClassifier(n_estimators=12, max_leaf_nodes=48, random_state=SEED)
    for model, file, export, description in (
        (tree, "01-decision-tree.pmml", writer.tree, "Decision tree, six levels deep"),
        (forest, "02-random-forest.onnx", _onnx, "Random forest of 40 trees"),
        (small_forest, "06-random-forest.pmml", writer.forest, "Random forest of 12 trees"),
    ):
        model.fit(wines.inputs, wines.qualities)
        gallery.add_classifier(
            file,
            export(model),
            f"{description} (scikit-learn)",
            classes=model.classes_,
            probabilities=model.predict_proba(wines.inputs),
        )


def _add_linear(gallery: Gallery, wines: Wines, writer: PmmlWriter) -> None:
    model = LinearRegression().fit(wines.inputs, wines.qualities)
    gallery.add_regression(
        "03-linear-regression.pmml",
        writer.linear(model),
        "Linear regression: a number, not a class (scikit-learn)",
        values=model.predict(wines.inputs),
    )


def _add_mlps(gallery: Gallery, wines: Wines, writer: PmmlWriter) -> None:
    mlp = MLPClassifier((16, 12), max_iter=150, n_iter_no_change=150, random_state=SEED)
    pipeline = make_pipeline(StandardScaler(), mlp)
    with catch_warnings(action="ignore", category=ConvergenceWarning):  # good enough to show
        pipeline.fit(wines.inputs, wines.qualities.astype(str))
    for file, content in (
        ("05-mlp.onnx", _onnx(pipeline)),
        ("08-mlp.pmml", writer.mlp(pipeline[0], mlp)),
    ):
        gallery.add_classifier(
            file,
            content,
            "Multi-layer perceptron (scikit-learn)",
            classes=mlp.classes_,
            probabilities=pipeline.predict_proba(wines.inputs),
        )
    # A mistake that is easily made: the network alone, to which nobody scales its inputs.
    (HERE / "models" / "bad" / "mlp-without-scaler.onnx").write_bytes(_onnx(mlp))


def _add_tensorflow(gallery: Gallery, wines: Wines) -> None:
    network = _train_keras(wines)
    answers = network(tf.constant(wines.inputs, tf.float32)).numpy().astype(np.float64)
    for file, content in (
        ("04-mlp-saved-model.zip", _saved_model(network)),
        ("07-mlp-frozen-graph.pb", _frozen_graph(network)),
    ):
        gallery.add_classifier(
            file,
            content,
            "Multi-layer perceptron (Keras)",
            classes=np.arange(answers.shape[1]),
            probabilities=answers,
        )


def _read_wines() -> Wines:
    with (HERE / "data" / "winequality-red.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    table = np.array(rows, dtype=np.float64)
    return Wines(header[:-1], table[:, :-1], table[:, -1].astype(int))


def _onnx(model: RandomForestClassifier | MLPClassifier | Pipeline) -> bytes:
    """Export with float32 inputs.

    scikit-learn's trees round their inputs to float32 too, and skl2onnx rounds their thresholds so
    that the same records pass. (With double inputs it rounds the thresholds alone: 64 wines of the
    forest get other probabilities.)
    """
    exported = to_onnx(
        model,
        initial_types=[("wine", FloatTensorType([None, model.n_features_in_]))],
        options={id(model): {"zipmap": False}},  # a ZipMap makes scoring several times slower
        target_opset=OPSETS,
    )
    # Their order changes from run to run.
    opsets = sorted(exported.opset_import, key=lambda opset: str(opset.domain))
    del exported.opset_import[:]
    exported.opset_import.extend(opsets)
    return bytes(exported.SerializeToString(deterministic=True))


def _train_keras(wines: Wines) -> tf.keras.Model:
    """Train a network of ten outputs whose index is the quality, 0 to 9.

    That is the original system's convention: the arg-max of the outputs is the answer.
    """
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    inputs = wines.inputs.astype(np.float32)
    scale = tf.keras.layers.Normalization()
    scale.adapt(inputs)
    network = tf.keras.Sequential(
        [
            tf.keras.Input((inputs.shape[1],), name="wine"),
            scale,
            tf.keras.layers.Dense(32, activation="relu"),
            tf.keras.layers.Dense(16, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax", name="quality"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(inputs, wines.qualities, epochs=40, batch_size=32, verbose=0)
    return network


def _serving(network: tf.keras.Model) -> tf.types.experimental.PolymorphicFunction:
    signature = tf.TensorSpec((None, network.input_shape[1]), tf.float32, name="wine")
    return tf.function(lambda wine: {"quality": network(wine)}, input_signature=[signature])


def _saved_model(network: tf.keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.network = network  # so that its variables are saved
        tf.saved_model.save(module, folder, signatures={"serving_default": _serving(network)})
        return _zip(Path(folder))


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _served_files(folder):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def _served_files(folder: Path) -> Iterator[Path]:
    """Yield what serving needs; the fingerprint is only for TensorFlow's own statistics."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "fingerprint.pb":
            yield path


def _frozen_graph(network: tf.keras.Model) -> bytes:
    frozen = convert_variables_to_constants_v2(_serving(network).get_concrete_function())
    return bytes(frozen.graph.as_graph_def().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
