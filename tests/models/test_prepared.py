"""A prepared model on disk comes back whole, or not at all."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from repertory.errors import SnapshotCorrupt
from repertory.models.model import InputFeature, InputTensor, Interval, PreparedModel
from repertory.models.prepared import CHECKED, CONTENT, DESCRIPTION, load_prepared, save_prepared


def test_what_was_saved_is_loaded(linear: PreparedModel, tmp_path: Path) -> None:
    odd = InputFeature("ä", categories=("x",), intervals=(Interval(0.1, None), Interval()))
    tensors = (InputTensor("x", "float64", (odd,), 1),)
    signature = replace(linear.signature, tensors=tensors, extra_outputs=("confidence:0",))
    prepared = replace(linear, signature=signature)
    save_prepared(prepared, tmp_path / "model")
    assert load_prepared(tmp_path / "model") == prepared


def test_saving_again_replaces_and_leaves_nothing_else(
    linear: PreparedModel, tmp_path: Path
) -> None:
    save_prepared(linear, tmp_path / "model")
    save_prepared(replace(linear, content=b"other"), tmp_path / "model")
    assert load_prepared(tmp_path / "model").content == b"other"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_was_saved_before_there_were_extra_outputs_is_loaded(
    linear: PreparedModel, tmp_path: Path
) -> None:
    save_prepared(linear, tmp_path / "model")
    path = tmp_path / "model" / DESCRIPTION
    description = json.loads(json.loads(path.read_text())["description"])
    del description["signature"]["extra_outputs"]
    old = json.dumps(description)
    sealed = {"sha256": hashlib.sha256(old.encode()).hexdigest(), "description": old}
    path.write_text(json.dumps(sealed))
    assert load_prepared(tmp_path / "model") == linear


@pytest.mark.parametrize("name", [CONTENT, DESCRIPTION])
def test_each_flipped_bit_is_seen(linear: PreparedModel, tmp_path: Path, name: str) -> None:
    save_prepared(linear, tmp_path / "model")
    path = tmp_path / "model" / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(SnapshotCorrupt):
            load_prepared(tmp_path / "model")


@pytest.mark.parametrize("name", [CONTENT, DESCRIPTION])
def test_a_file_that_is_gone_is_named(linear: PreparedModel, tmp_path: Path, name: str) -> None:
    save_prepared(linear, tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(SnapshotCorrupt, match="cannot be read"):
        load_prepared(tmp_path / "model")


def test_who_checked_a_model_is_beside_it(linear: PreparedModel, tmp_path: Path) -> None:
    save_prepared(linear, tmp_path / "model", checked="by-whom")
    assert (tmp_path / "model" / CHECKED).read_text() == "by-whom"
    assert load_prepared(tmp_path / "model") == linear
