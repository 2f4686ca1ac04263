"""Frames cross a socket pair whole, and garbage is told from silence."""

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from repertory.models.pipe import Pipe, PipeClosed


@pytest.fixture
def ends() -> Iterator[tuple[Pipe, Pipe, socket.socket]]:
    """Return both ends, and the socket below the second."""
    one, other = socket.socketpair()
    pipes = Pipe(one), Pipe(other)
    yield *pipes, other
    for pipe in pipes:
        pipe.close()


def test_a_frame_arrives_as_it_was_sent(ends: tuple[Pipe, Pipe, socket.socket]) -> None:
    one, other, _ = ends
    texts = np.array([["a", None], ["ü", 1.5]], np.object_)
    arrays = {"n": np.arange(6.0).reshape(2, 3), "i": np.array([1, 2], np.int8), "t": texts}
    one.send({"names": ["y"]}, {**arrays, "none": np.empty((0, 3))})
    header, found = other.receive(seconds=5)
    assert header == {"names": ["y"]}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert found["none"].shape == (0, 3)


def test_silence_is_a_timeout(ends: tuple[Pipe, Pipe, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        ends[0].receive(seconds=0.05)


def test_a_closed_pipe_is_told(ends: tuple[Pipe, Pipe, socket.socket]) -> None:
    ends[1].close()
    with pytest.raises(PipeClosed):
        ends[0].receive(seconds=5)
    with pytest.raises(PipeClosed):
        ends[0].send({"x": "y" * 10**6})


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 12,
        b"\x00\x00\x00\x02" + bytes(8) + b"[]",
        b"\x00\x00\x00\x04" + bytes(8) + b"\xff\xff\xff\xff",
    ],
)
def test_garbage_is_told(ends: tuple[Pipe, Pipe, socket.socket], garbage: bytes) -> None:
    ends[2].sendall(garbage)
    with pytest.raises(PipeClosed):
        ends[0].receive(seconds=5)
