"""TensorFlow models are compiled faithfully, keep their engine, or are refused by name."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.green_room import Admitted, GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Columns, Engine, Outcomes, Schema
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

CLASSES = ("0", "1", "2")


@pytest.fixture(scope="module")
def made(wine: Schema, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the models that make_tensorflow_models.py writes."""
    folder = tmp_path_factory.mktemp("tensorflow")
    script = Path(__file__).parent / "make_tensorflow_models.py"
    names = ",".join(feature.name for feature in wine.features)
    with (folder / "log").open("wb") as log:
        command = [sys.executable, str(script), str(folder), names]
        found = subprocess.run(command, stdout=log, stderr=log, check=False)
    assert found.returncode == 0, (folder / "log").read_text()[-2000:]
    return folder


@pytest.fixture(scope="module")
def room(wine: Schema, made: Path) -> Iterator[GreenRoom]:
    green_room = GreenRoom(Models(max_mb=16, roots=(made / "old",)), {"wine": wine})
    yield green_room
    green_room.close()


@pytest.fixture(scope="module")
def expected(made: Path) -> dict[str, NDArray[Any]]:
    return dict(np.load(made / "expected.npz"))


def admit(room: GreenRoom, path: Path) -> Admitted:
    saved = path.suffix == ".zip"
    modeltype = ModelDescriptor.TENSORFLOWSAVED if saved else ModelDescriptor.TENSORFLOW
    descriptor = ModelDescriptor(dataType="wine", modeltype=modeltype, data=path.read_bytes())
    return room.prepare(descriptor.SerializeToString())


def refusal(room: GreenRoom, path: Path) -> str:
    with pytest.raises(ModelRejected) as caught:
        admit(room, path)
    return caught.value.reason


def score(admitted: Admitted, wine: Schema, records: NDArray[Any]) -> Outcomes:
    columns = {f.name: records[:, i].astype(np.float64) for i, f in enumerate(wine.features)}
    model = load_model(admitted.prepared)
    try:
        return model.score(Columns(len(records), columns))
    finally:
        model.close()


@pytest.mark.parametrize(
    "name",
    [
        "softmax.pb",
        "unknown-shape.pb",
        "both.pb",
        "network.zip",
        "nested.zip",
        "old.zip",
        "old-resource.zip",
    ],
)
def test_a_classifier_is_compiled_and_answers_as_tensorflow_does(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]], name: str
) -> None:
    admitted = admit(room, made / name)
    assert admitted.prepared.engine is Engine.ONNX
    outcomes = score(admitted, wine, expected["records"])
    assert outcomes.labels == CLASSES
    assert outcomes.chosen is not None
    assert outcomes.probabilities is not None
    np.testing.assert_array_equal(outcomes.chosen, expected["softmax"].argmax(axis=1))
    np.testing.assert_allclose(outcomes.probabilities, expected["softmax"], atol=1e-5)


@pytest.mark.parametrize("name", ["sure.zip", "frozen-sure.pb"])
def test_a_confidence_beside_a_label_is_compiled_with_it(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]], name: str
) -> None:
    admitted = admit(room, made / name)
    assert admitted.prepared.engine is Engine.ONNX
    outcomes = score(admitted, wine, expected["records"])
    assert outcomes.chosen is not None
    chosen = [int(outcomes.labels[place]) for place in outcomes.chosen]
    np.testing.assert_array_equal(chosen, expected["softmax"].argmax(axis=1))
    most = expected["softmax"].max(axis=1)
    np.testing.assert_allclose(outcomes.extras["confidence"], most, atol=1e-5)


def test_tensorflow_itself_gives_a_confidence_that_cannot_be_compiled(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]]
) -> None:
    admitted = admit(room, made / "sure-value.zip")
    assert admitted.prepared.engine is Engine.TENSORFLOW
    assert admitted.prepared.signature.value_output == "total:0"
    outcomes = score(admitted, wine, expected["records"])
    found = outcomes.extras["Confidence"]
    np.testing.assert_allclose(found, expected["lgamma"][:, 0], rtol=1e-5)


def test_scores_that_are_no_probabilities_give_a_label_alone(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]]
) -> None:
    outcomes = score(admit(room, made / "logits.pb"), wine, expected["records"])
    assert outcomes.probabilities is None
    assert outcomes.chosen is not None
    np.testing.assert_array_equal(outcomes.chosen, expected["softmax"].argmax(axis=1))


@pytest.mark.parametrize("name", ["value.pb", "named.zip"])
def test_one_number_is_a_value(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]], name: str
) -> None:
    admitted = admit(room, made / name)
    assert len(admitted.prepared.signature.tensors) == (1 if name == "value.pb" else 11)
    outcomes = score(admitted, wine, expected["records"])
    assert outcomes.values is not None
    np.testing.assert_allclose(outcomes.values, expected["records"].sum(axis=1), rtol=1e-5)


def test_what_cannot_be_compiled_keeps_tensorflow(
    room: GreenRoom, made: Path, wine: Schema, expected: dict[str, NDArray[Any]]
) -> None:
    admitted = admit(room, made / "lgamma.pb")
    assert admitted.prepared.engine is Engine.TENSORFLOW
    outcomes = score(admitted, wine, expected["records"])
    assert outcomes.chosen is not None
    np.testing.assert_array_equal(outcomes.chosen, expected["lgamma"].argmax(axis=1))


def test_a_saved_model_may_be_a_tar(room: GreenRoom, made: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(made / "network", arcname=".")
    (made / "network.tar.zip").write_bytes(buffer.getvalue())
    assert admit(room, made / "network.tar.zip").prepared.engine is Engine.ONNX


def test_a_saved_model_may_be_a_folder_below_the_roots(room: GreenRoom, made: Path) -> None:
    def at(location: str) -> bytes:
        saved = ModelDescriptor.TENSORFLOWSAVED
        descriptor = ModelDescriptor(dataType="wine", modeltype=saved, location=location)
        return descriptor.SerializeToString()

    assert room.prepare(at(str(made / "old"))).prepared.engine is Engine.ONNX
    with pytest.raises(ModelRejected, match="is a URL, and none is followed"):
        room.prepare(at(f"file://{made / 'old'}"))
    with pytest.raises(ModelRejected, match=r"not below any of models\.roots"):
        room.prepare(at(str(made / "old" / ".." / "network")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reads.pb", "operator ReadFile"),
        ("writes.pb", "operator WriteFile"),
        ("hidden.pb", "operator ReadFile"),
        ("python.pb", "operator PyFunc"),
        ("main-op.zip", "runs WriteFile (node 'WriteFile') when it is loaded"),
        ("table.zip", "when it is loaded"),
        ("wide.pb", "takes 13 features, but wine has 11"),
    ],
)
def test_what_must_not_or_cannot_be_served_is_refused_by_name(
    room: GreenRoom, made: Path, name: str, reason: str
) -> None:
    assert reason in refusal(room, made / name)
    assert not (made / "written").exists()


def test_a_graph_that_asks_for_100_gigabytes_is_refused(room: GreenRoom, made: Path) -> None:
    assert "memory" in refusal(room, made / "allocates.pb")


def test_an_endless_graph_is_refused_and_the_next_model_served(
    wine: Schema, made: Path, linear_onnx: bytes
) -> None:
    room = GreenRoom(Models(check_seconds=12), {"wine": wine})
    try:
        admit(room, made / "value.pb")  # TensorFlow is imported: what follows is the model's time
        assert refusal(room, made / "endless.pb") == "the check took longer than 12 s"
        onnx = ModelDescriptor(dataType="wine", modeltype=ModelDescriptor.ONNX, data=linear_onnx)
        assert room.prepare(onnx.SerializeToString()).prepared.engine is Engine.ONNX
    finally:
        room.close()


def test_garbage_in_an_archive_is_refused(room: GreenRoom, made: Path) -> None:
    (made / "cut.zip").write_bytes((made / "network.zip").read_bytes()[:-100])
    assert "the archive cannot be unpacked" in refusal(room, made / "cut.zip")


def test_a_saved_model_without_its_variables_is_refused(room: GreenRoom, made: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(made / "network" / "saved_model.pb", arcname="saved_model.pb")
    (made / "bare.zip").write_bytes(buffer.getvalue())
    assert "the variables cannot be read" in refusal(room, made / "bare.zip")
