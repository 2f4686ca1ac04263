"""Frames come out of a stream as they went in, however it was cut; what cannot be one is refused."""

import itertools
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.errors import ProtocolError
from repertory.protos.door_pb2 import Envelope

ENVELOPES = st.builds(
    Envelope,
    kind=st.sampled_from(Envelope.Kind.values()),
    correlation_id=st.integers(0, 2**64 - 1),
    data_type=st.text(max_size=20),
    count=st.integers(0, 2**32 - 1),
)
FRAMES = st.lists(st.builds(Frame, ENVELOPES, st.binary(max_size=300)), max_size=8)


def pieces(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(places)]


@given(FRAMES, st.lists(st.integers(0), max_size=20))
def test_frames_cut_anywhere_are_read_back(frames: list[Frame], cuts: list[int]) -> None:
    reader = FrameReader()
    stream = b"".join(encode_frame(*frame) for frame in frames)
    assert [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)] == frames


def test_a_frame_that_came_byte_by_byte_is_read_once_it_is_whole() -> None:
    reader = FrameReader()
    stream = encode_frame(Envelope(data_type="wine"), b"payload")
    counts = [len(list(reader.feed(bytes([byte])))) for byte in stream]
    assert counts == [0] * (len(stream) - 1) + [1]


def test_a_frame_at_the_limit_is_read_and_one_above_it_is_refused() -> None:
    envelope = Envelope(data_type="wine")
    limit = len(encode_frame(envelope)) - 4 + 100
    assert list(FrameReader(limit).feed(encode_frame(envelope, bytes(100))))
    with pytest.raises(ProtocolError, match=f"a frame of {limit + 1} bytes"):
        list(FrameReader(limit).feed(encode_frame(envelope, bytes(101))))


def test_an_oversized_frame_is_refused_before_its_body_is_there() -> None:
    with pytest.raises(ProtocolError, match="a frame of 4294967295 bytes"):
        list(FrameReader().feed(struct.pack(">II", 2**32 - 1, 8)))


@pytest.mark.parametrize(("length", "head"), [(0, 0), (3, 0), (10, 7), (100, 2**32 - 1)])
def test_a_head_that_does_not_fit_its_frame_is_refused(length: int, head: int) -> None:
    with pytest.raises(ProtocolError, match="with a head of"):
        list(FrameReader().feed(struct.pack(">II", length, head)))


def test_bytes_that_are_no_envelope_are_refused() -> None:
    with pytest.raises(ProtocolError, match="not an Envelope"):
        list(FrameReader().feed(struct.pack(">II", 8, 4) + b"\xff\xff\xff\xff"))


def test_frames_before_the_garbage_are_still_given() -> None:
    feed = FrameReader().feed(encode_frame(Envelope(data_type="wine")) + b"GET / HTTP/1.1\r\n\r\n")
    assert next(feed).envelope.data_type == "wine"
    with pytest.raises(ProtocolError):
        next(feed)


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_incomplete_or_refused(garbage: bytes) -> None:
    try:
        for frame in FrameReader().feed(garbage):
            assert isinstance(frame, Frame)
    except ProtocolError:
        pass
