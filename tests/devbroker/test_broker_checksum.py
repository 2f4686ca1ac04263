"""The checksum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.devbroker.checksum import crc32c


def slow_crc32c(data: bytes) -> int:
    """Return the CRC-32C bit by bit, as its definition has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_it_gives_what_rfc_3720_lists(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@given(st.binary(max_size=600))
def test_it_agrees_with_the_definition(data: bytes) -> None:
    assert crc32c(data) == slow_crc32c(data)


@pytest.mark.parametrize("size", [5684, 5685, 5686, 11369, 11371, 22741, 70_001])
def test_it_agrees_with_the_definition_where_folding_changes(size: int) -> None:
    data = bytes(7 * i * i & 255 for i in range(size))
    assert crc32c(data) == slow_crc32c(data)
