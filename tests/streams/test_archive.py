"""What decoys kept comes to the archive once, whole, and as it was."""

import struct
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.apache_kafka.fixtures import Broker

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
    encode_columns,
    encode_records,
)
from repertory.actors.decoy_rows import Rows
from repertory.actors.decoy_segment import segments
from repertory.actors.decoy_spool import DecoyEntry, DecoySpool
from repertory.actors.local_node import LocalNode, wait_until
from repertory.config import ClusterConfig, NodePaths, load_config
from repertory.errors import FailureCode
from repertory.streams.archive import Archiver, open_archive

FOREST, TREE = ModelRef("forest", 3, "f" * 64), ModelRef("tree", 4, "a" * 64)
EVER = 2**62
# Bits that a detour over text or float32 would change.
NUMBERS = [0.1 + 0.2, 5e-324, -0.0, 1 / 3]


def answer(count: int) -> bytes:
    """Return a reply: odd records are the tree's, and the last one failed."""
    chosen = np.arange(count, dtype=np.int8) % 2
    chosen[-1] = -1
    slots = (
        SlotReport("forest", SlotState.ARRIVED, model=FOREST),
        SlotReport("tree", SlotState.ARRIVED, model=TREE, rows=np.arange(1, count, 2)),
    )
    columns = ScoredColumns(
        FOREST,
        count,
        values=np.resize(NUMBERS, count),
        labels=(),
        chosen=None,
        probabilities=None,
        failures={count - 1: RecordFailed(FailureCode.MISSING_FEATURE, "pH is missing")},
        policy=PolicyReport("canary", 9, slots, chosen),
    )
    return encode_columns(columns).SerializeToString()


@pytest.fixture
def make_archiver(write_config: Callable[..., Path]) -> Callable[..., tuple[Archiver, NodePaths]]:
    """Make an archiver of a node, of this configuration."""

    def make(**changes: object) -> tuple[Archiver, NodePaths]:
        config = load_config(write_config(**changes))
        paths = NodePaths(config, "a")
        return Archiver(config, paths, "a"), paths

    return make


def spool(paths: NodePaths, *batches: int) -> None:
    """Archive batches of these sizes, of `wine`, as one segment."""
    writer = DecoySpool(paths.decoy / "wine", limit_bytes=1 << 30)
    for count in batches:
        records = [b"%d" % number for number in range(count)]
        payload = encode_records(records)
        assert writer.append(DecoyEntry("wine", payload, count, answer(count), archived_us=1000))
    writer.close()


def config_of(paths: NodePaths) -> ClusterConfig:
    return load_config(paths.root.parent.parent / "cluster.yaml")


def read(paths: NodePaths, *, since_us: int = 0, until_us: int = EVER) -> Rows:
    """Read all of `wine` in the archive."""
    found = Rows()
    archive = open_archive(config_of(paths), paths)
    for rows in archive.read("wine", since_us=since_us, until_us=until_us):
        found.extend(rows)
    return found


def bits(values: list[float | None]) -> list[bytes | None]:
    return [None if each is None else struct.pack("<d", each) for each in values]


def check(rows: Rows) -> None:
    """Check that rows are those of a batch of five."""
    assert rows.record == [b"0", b"1", b"2", b"3", b"4"]
    assert bits(rows.value) == bits([*NUMBERS, None])
    assert rows.slot == ["forest", "tree", "forest", "tree", None]
    assert rows.model_version == [3, 4, 3, 4, None]
    assert rows.asked[:2] == [["forest"], ["forest", "tree"]]
    assert (rows.error_code[4], rows.error_message[4]) == ("missing_feature", "pH is missing")
    assert set(rows.policy) == {"canary"}
    assert set(rows.archived_us) == {1000}


def test_what_was_spooled_is_in_a_file_and_gone_from_the_spool(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5)
    assert archiver.round() is None
    check(read(paths))
    assert segments(paths.decoy / "wine") == []


def test_a_segment_that_is_archived_twice_is_there_once(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5, 7)
    (segment,) = segments(paths.decoy / "wine")
    content = segment.read_bytes()
    archiver.round()
    segment.write_bytes(content)  # it was killed before it was removed
    archiver.round()
    assert len(read(paths)) == 12


def test_batches_can_be_told_apart(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5, 1, 7)
    archiver.round()
    assert [len(batch) for batch in read(paths).by_batch()] == [5, 1, 7]


def test_only_what_is_of_the_time_is_read(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5)
    archiver.round()
    # The segment's number, by which files are chosen, is the time at which the test runs.
    assert len(read(paths, since_us=1000)) == 5
    assert len(read(paths, since_us=1001)) == 0
    assert len(read(paths, until_us=999)) == 0


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_lost(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]], tmp_path: Path
) -> None:
    archiver, paths = make_archiver(decoy={"url": str(tmp_path / "there")})
    (tmp_path / "there").touch()
    spool(paths, 5)
    assert "there" in (archiver.round() or "")
    (tmp_path / "there").unlink()
    assert archiver.round() is None
    check(read(paths))


def test_a_file_system_that_is_not_known_is_told(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver(decoy={"url": "nowhere://bucket/decoy"})
    spool(paths, 5)
    assert "nowhere" in (archiver.round() or "")


def test_files_can_be_in_any_file_system(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver(decoy={"url": f"memory://{uuid.uuid4()}"})
    spool(paths, 5)
    assert archiver.round() is None
    check(read(paths))


def test_without_pyarrow_it_is_told_how_to_get_it(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]], monkeypatch: pytest.MonkeyPatch
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'repertory[parquet]'" in (archiver.round() or "")


def test_a_damaged_segment_is_kept_aside_and_what_can_be_read_is_archived(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]],
) -> None:
    archiver, paths = make_archiver()
    spool(paths, 5, 5)
    (segment,) = segments(paths.decoy / "wine")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    assert archiver.round() is None
    check(read(paths))
    assert [path.suffix for path in (paths.decoy / "wine").iterdir()] == [".damaged"]


@pytest.fixture
def topic_archiver(
    make_archiver: Callable[..., tuple[Archiver, NodePaths]], kafka_broker: Broker
) -> tuple[Archiver, NodePaths]:
    """An archiver whose archive is a topic of the test's own."""
    kafka = {"bootstrap_servers": kafka_broker.bootstrap_servers}
    return make_archiver(decoy={"topic": f"t{uuid.uuid4().hex[:10]}"}, kafka=kafka)


def test_a_topic_has_each_record_as_it_was(topic_archiver: tuple[Archiver, NodePaths]) -> None:
    archiver, paths = topic_archiver
    spool(paths, 5)
    assert archiver.round() is None
    check(read(paths))


def test_a_record_that_is_too_large_for_the_topic_holds_up_no_other(
    topic_archiver: tuple[Archiver, NodePaths],
) -> None:
    archiver, paths = topic_archiver
    records = [b"0", bytes(3 << 20), b"2"]
    writer = DecoySpool(paths.decoy / "wine", limit_bytes=1 << 30)
    writer.append(DecoyEntry("wine", encode_records(records), 3, answer(3)))
    writer.close()
    assert archiver.round() is None
    rows = read(paths)
    assert rows.record == [b"0", b"", b"2"]
    assert rows.slot[:2] == ["forest", None]


def test_what_is_on_the_topic_twice_is_read_once(
    topic_archiver: tuple[Archiver, NodePaths],
) -> None:
    archiver, paths = topic_archiver
    spool(paths, 5, 7)
    (segment,) = segments(paths.decoy / "wine")
    content = segment.read_bytes()
    archiver.round()
    segment.write_bytes(content)
    archiver.round()
    assert sorted(len(batch) for batch in read(paths).by_batch()) == [5, 7]


def test_a_node_archives_what_its_decoys_keep_and_says_what_is_in_the_way(
    local_node: Callable[..., LocalNode], write_config: Callable[..., Path], tmp_path: Path
) -> None:
    place = tmp_path / "there"
    place.touch()
    node = local_node(config=write_config(decoy={"url": str(place)}))
    node.wait_until(ready=False)
    spool(node.paths, 5)

    def told() -> str:
        return str(node.get("/status")["faces"].get("archive:archive", {}).get("warnings", ""))

    wait_until(lambda: "there" in told(), "the status says that nothing can be archived")
    assert "archive" not in node.get("/status")["troubles"]  # it serves all the same
    place.unlink()
    wait_until(lambda: not segments(node.paths.decoy / "wine"), "the segment is archived")
    check(read(node.paths))
