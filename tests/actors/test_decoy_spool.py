"""What is archived survives a kill at any byte; what has no room is counted, and waits for nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors import decoy_spool
from repertory.actors.batch import JSON, encode_records
from repertory.actors.decoy_segment import (
    OPEN,
    SEALED,
    read_segment,
    seal,
    seal_orphans,
    segments,
)
from repertory.actors.decoy_spool import SEGMENT_SECONDS, DecoyEntry, DecoySpool

PLENTY = 1 << 30


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def entry(*records: bytes) -> DecoyEntry:
    """Make an entry of these records; its answer is their number."""
    payload = encode_records(records)
    return DecoyEntry("wine", payload, len(records), answer=b"%d" % len(records))


def payloads(*paths: Path) -> list[bytes]:
    return [batch.payload for path in paths for batch in read_segment(path)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spool(tmp_path: Path, clock: Clock) -> DecoySpool:
    return DecoySpool(tmp_path / "wine", limit_bytes=PLENTY, clock=clock)


def test_a_batch_comes_back_as_it_was(spool: DecoySpool, tmp_path: Path) -> None:
    sent = DecoyEntry("wine", b"\x02\0\0\0{}", 1, b"answer", JSON, archived_us=7)
    assert spool.append(sent)
    spool.close()
    (batch,) = read_segment(*segments(tmp_path / "wine"))
    assert (batch.data_type, batch.payload, batch.count) == ("wine", b"\x02\0\0\0{}", 1)
    assert (batch.answer, batch.encoding, batch.archived_us) == (b"answer", JSON, 7)


def test_a_segment_is_sealed_when_it_is_old(
    spool: DecoySpool, clock: Clock, tmp_path: Path
) -> None:
    spool.append(entry(b"a"))
    spool.tick()
    assert segments(tmp_path / "wine") == []
    clock.now += SEGMENT_SECONDS
    spool.tick()
    assert payloads(*segments(tmp_path / "wine")) == [entry(b"a").payload]


def test_a_segment_is_sealed_when_it_is_large(
    spool: DecoySpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoy_spool, "SEGMENT_BYTES", 1000)
    for _ in range(10):
        spool.append(entry(b"x" * 500))
    assert len(segments(tmp_path / "wine")) == 5


def test_a_full_spool_takes_no_more_and_says_so(tmp_path: Path, clock: Clock) -> None:
    spool = DecoySpool(tmp_path, limit_bytes=2000, clock=clock)
    kept = [spool.append(entry(b"x" * 500)) for _ in range(5)]
    assert kept == [True, True, True, False, False]
    assert (spool.archived, spool.dropped) == (3, 2)
    assert "limit" in (spool.trouble or "")


def test_a_full_spool_goes_on_when_there_is_room(tmp_path: Path, clock: Clock) -> None:
    spool = DecoySpool(tmp_path, limit_bytes=2000, clock=clock)
    while spool.append(entry(b"x" * 500)):
        spool.close()
    for path in segments(tmp_path):
        path.unlink()  # as the archiver does
    clock.now += 1
    assert spool.append(entry(b"x" * 500))
    assert spool.trouble is None


def test_a_folder_that_cannot_be_written_costs_batches_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spool = DecoySpool(tmp_path / "file" / "wine", limit_bytes=PLENTY)
    assert not spool.append(entry(b"a"))
    assert "Not a directory" in (spool.trouble or "")


def test_a_disk_that_is_full_leaves_no_half_frame(
    spool: DecoySpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(entry(b"first"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", lambda file, parts: os.write(file, parts[0]))
        assert not spool.append(entry(b"lost"))
        assert spool.trouble is not None
    spool.append(entry(b"second"))
    spool.close()
    found = payloads(*segments(tmp_path / "wine"))
    assert found == [entry(b"first").payload, entry(b"second").payload]


def test_a_segment_of_a_living_writer_is_left_alone(spool: DecoySpool, tmp_path: Path) -> None:
    spool.append(entry(b"a"))
    seal_orphans(tmp_path / "wine")
    assert segments(tmp_path / "wine") == []
    assert len(segments(tmp_path / "wine", OPEN)) == 1


WRITER = """
import os, sys
from pathlib import Path
from repertory.actors.decoy_spool import DecoyEntry, DecoySpool
spool = DecoySpool(Path(sys.argv[1]), limit_bytes=1 << 30)
for number in range(20):
    spool.append(DecoyEntry("wine", b"%d" % number, 1, b""))
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_appended_is_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=False)
    successor = DecoySpool(tmp_path, limit_bytes=PLENTY)
    assert successor.trouble is None
    assert payloads(*segments(tmp_path)) == [b"%d" % number for number in range(20)]


def test_numbers_rise_although_the_clock_goes_back(tmp_path: Path) -> None:
    future = tmp_path / f"{9_000_000_000_000_000}{SEALED}"
    future.touch()
    spool = DecoySpool(tmp_path, limit_bytes=PLENTY)
    spool.append(entry(b"a"))
    spool.close()
    assert int(segments(tmp_path)[-1].stem) > int(future.stem)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[bytes]]:
    """A folder, and in it a segment of four batches: its bytes, and their payloads."""
    folder = tmp_path_factory.mktemp("whole")
    spool = DecoySpool(folder, limit_bytes=PLENTY)
    for size in (0, 1, 7, 40):
        spool.append(entry(b"r" * size))
    spool.close()
    (path,) = segments(folder)
    return folder, path.read_bytes(), payloads(path)


def test_a_segment_that_ends_anywhere_keeps_its_whole_batches(
    whole: tuple[Path, bytes, list[bytes]],
) -> None:
    folder, content, sent = whole
    kept: list[int] = []
    for size in range(len(content) + 1):
        path = folder / f"{size:016d}{OPEN}"
        path.write_bytes(content[:size])
        sealed = seal(path)
        found = payloads(sealed) if sealed else []
        assert found == sent[: len(found)]
        kept.append(len(found))
    assert kept == sorted(kept)
    assert (kept[0], kept[-2], kept[-1]) == (0, 3, 4)


@given(data=st.data())
def test_a_flipped_bit_costs_batches_but_never_changes_one(
    whole: tuple[Path, bytes, list[bytes]], data: st.DataObject
) -> None:
    folder, content, sent = whole
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    broken = bytearray(content)
    broken[place // 8] ^= 1 << place % 8
    path = folder / "broken"
    path.write_bytes(broken)
    found = payloads(path)
    assert len(found) < len(sent)
    assert found == sent[: len(found)]
