"""Snapshots as bytes: what was written comes back, or nothing does."""

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.errors import JournalError, SnapshotCorrupt
from repertory.journal.snapshot import FORMAT, Snapshot, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
snapshots = st.builds(
    Snapshot,
    data_type=st.text(),
    name=st.text(),
    description=st.text(),
    model_type=st.text(),
    version=st.integers(),
    sha256=st.text(),
    position=st.integers(),
    since_ms=st.integers(),
    files=st.dictionaries(st.text(), st.binary(max_size=100), max_size=4),
    counters=st.dictionaries(st.text(), json_values, max_size=4),
)


@given(snapshots)
@settings(deadline=None)
def test_any_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    assert decode(b"".join(encode(snapshot))) == snapshot


@given(snapshots, st.data())
@settings(deadline=None)
def test_no_changed_byte_passes(snapshot: Snapshot, data: st.DataObject) -> None:
    content = bytearray(b"".join(encode(snapshot)))
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotCorrupt):
        decode(bytes(content))


def test_no_flipped_bit_passes(snapshot: Snapshot) -> None:
    content = b"".join(encode(snapshot))
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SnapshotCorrupt):
            decode(bytes(flipped))


def test_no_cut_passes(snapshot: Snapshot) -> None:
    content = b"".join(encode(snapshot))
    for length in range(len(content)):
        with pytest.raises(SnapshotCorrupt):
            decode(content[:length])


def test_nothing_may_follow(snapshot: Snapshot) -> None:
    with pytest.raises(SnapshotCorrupt, match="bytes where"):
        decode(b"".join(encode(snapshot)) + b"\0")


def test_a_newer_format_is_told_from_damage(snapshot: Snapshot) -> None:
    prefix, _, *body = encode(snapshot)
    newer = prefix[:8] + struct.pack("<I", FORMAT + 1) + prefix[12:]
    digest = hashlib.sha256(b"".join([newer, *body])).digest()
    with pytest.raises(JournalError, match=f"format {FORMAT + 1} is of a newer Repertory"):
        decode(b"".join([newer, digest, *body]))


def test_counters_that_are_no_json_are_refused(snapshot: Snapshot) -> None:
    with pytest.raises(TypeError):
        encode(replace(snapshot, counters={"usage": {1, 2}}))
