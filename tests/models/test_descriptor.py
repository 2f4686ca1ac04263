"""A descriptor says what it holds; its location leads to nothing but what is allowed."""

import os
from pathlib import Path

import pytest

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.descriptor import folder_digest, read_descriptor
from repertory.models.sniff import guess_model_type
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

PMML = b'<?xml version="1.0"?>\n<PMML version="4.4"/>'


def at(location: str) -> bytes:
    pmml = ModelDescriptor.PMML
    return ModelDescriptor(dataType="wine", modeltype=pmml, location=location).SerializeToString()


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.pmml").write_bytes(PMML)
    (tmp_path / "secret.pmml").write_bytes(PMML)
    return folder


@pytest.mark.parametrize(
    "form", ["{0}/model.pmml", "{0}/./model.pmml", "/{0}/model.pmml", "{0}/inside.pmml"]
)
def test_a_location_below_the_roots_is_read(roots: Path, form: str) -> None:
    (roots / "inside.pmml").symlink_to(roots / "model.pmml")
    published = read_descriptor(at(form.format(roots)), Models(roots=(roots,)))
    assert published.content == PMML


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("{0}/../secret.pmml", "not below any of models.roots"),
        ("{0}/%2e%2e/secret.pmml", "is not there"),
        ("{0}/folder/secret.pmml", "not below any of models.roots"),
        ("{0}/circle", "cannot be followed"),
        ("{0}/model.pmml\0.onnx", "not an absolute path"),
        ("{0}/" + "x" * 300, "cannot be read: File name too long"),
        ("{0}/link.pmml", "not below any of models.roots"),
        ("{0}-other/model.pmml", "not below any of models.roots"),
        ("model.pmml", "not an absolute path"),
        ("~/model.pmml", "not an absolute path"),
        ("http://example.com/model.pmml", "is a URL, and none is followed: give the absolute"),
        ("http://169.254.169.254/latest", "is a URL, and none is followed"),
        ("http://[::1]:5500/models", "is a URL, and none is followed"),
        ("s3://bucket/model.pmml", "is a URL, and none is followed"),
        ("file://{0}/model.pmml", "is a URL, and none is followed"),
        ("FILE:{0}/model.pmml", "is a URL, and none is followed"),
        ("file://elsewhere/model.pmml", "is a URL, and none is followed"),
        ("{0}/nowhere.pmml", "is not there"),
        ("{0}", "only a SavedModel may be one"),
        ("{0}/fifo", "is not there"),
        ("", "not an absolute path"),
    ],
)
def test_any_other_location_is_refused(roots: Path, form: str, reason: str) -> None:
    (roots / "link.pmml").symlink_to(roots.parent / "secret.pmml")
    (roots / "folder").symlink_to(roots.parent)
    (roots / "circle").symlink_to(roots / "circle")
    os.mkfifo(roots / "fifo")
    with pytest.raises(ModelRejected, match=reason):
        read_descriptor(at(form.format(roots)), Models(roots=(roots,)))


def test_without_roots_no_location_is_accepted(roots: Path) -> None:
    with pytest.raises(ModelRejected, match=r"models\.roots is empty"):
        read_descriptor(at(f"{roots}/model.pmml"), Models())


def test_a_file_at_a_location_is_refused_by_its_size_unread(roots: Path) -> None:
    with (roots / "huge.pmml").open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    with pytest.raises(ModelRejected, match=r"more than models\.max_mb = 1"):
        read_descriptor(at(f"{roots}/huge.pmml"), Models(roots=(roots,), max_mb=1))


@pytest.mark.parametrize("target", ["secret.pmml", "models"])
def test_a_folder_with_a_link_in_it_is_not_even_read(roots: Path, target: str) -> None:
    (roots / "saved" / "deep").mkdir(parents=True)
    (roots / "saved" / "deep" / "link").symlink_to(roots.parent / target)
    saved = ModelDescriptor(
        dataType="wine", modeltype=ModelDescriptor.TENSORFLOWSAVED, location=f"{roots}/saved"
    )
    with pytest.raises(ModelRejected, match="link at the location is a link or a device"):
        read_descriptor(saved.SerializeToString(), Models(roots=(roots,)))


def test_a_folder_is_not_read_beyond_the_limit(roots: Path) -> None:
    (roots / "large").mkdir()
    with (roots / "large" / "variables").open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    with pytest.raises(ModelRejected, match=r"larger than models\.max_mb allows"):
        folder_digest(roots / "large", most_bytes=1024 * 1024)


def test_a_folder_s_digest_knows_names_and_bytes(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("a", b"1"), ("a", b"2"), ("b", b"1")):
        folder = tmp_path / f"{name}{content.decode()}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        digests.add(folder_digest(folder))
    assert len(digests) == 3


def test_content_tells_its_type(linear_onnx: bytes) -> None:
    graph_def = b"\x0a\x0d\x0a\x01x\x12\x05Const\x1a\x01y\x22\x02\x08\x01"
    looks = {
        linear_onnx: ModelDescriptor.ONNX,
        PMML: ModelDescriptor.PMML,
        b"\xef\xbb\xbf  " + PMML: ModelDescriptor.PMML,
        PMML.decode().encode("utf-16"): ModelDescriptor.PMML,
        b'<p:PMML xmlns:p="http://www.dmg.org/PMML-4_4"/>': ModelDescriptor.PMML,
        b"PK\x03\x04": ModelDescriptor.TENSORFLOWSAVED,
        b"\x1f\x8b": ModelDescriptor.TENSORFLOWSAVED,
        b'{"input": "double", "output": "double", "action": []}': ModelDescriptor.PFA,
        graph_def: ModelDescriptor.TENSORFLOW,
    }
    assert {content: guess_model_type(content) for content in looks} == looks


@pytest.mark.parametrize("content", [b"", b"garbage", b"<html/>", b"{}", b"\x08", bytes(100)])
def test_what_looks_like_no_model_is_not_guessed(content: bytes) -> None:
    assert guess_model_type(content) is None


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a\\x", "a\nx", "\x1b[2J", "a\u2028x"])
def test_a_name_that_is_a_path_or_hides_what_it_says_is_refused(name: str) -> None:
    pmml = ModelDescriptor(name=name, dataType="wine", modeltype=ModelDescriptor.PMML, data=PMML)
    with pytest.raises(ModelRejected, match=r"^the name '.*' (is a path|has characters)"):
        read_descriptor(pmml.SerializeToString(), Models())


@pytest.mark.parametrize("name", ["", "team/forest", "Wald für Wein 2.0", "a..b", "forêt (日本)"])
def test_any_other_name_is_taken(name: str) -> None:
    pmml = ModelDescriptor(name=name, dataType="wine", modeltype=ModelDescriptor.PMML, data=PMML)
    assert read_descriptor(pmml.SerializeToString(), Models()).name == name
