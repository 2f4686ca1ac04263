"""Topics, their names and settings, and the journal that remembers them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.devbroker.journal import MetadataJournal
from repertory.streams.devbroker.offsets import Committed, CommittedOffsets
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.segment import LogDamaged
from repertory.streams.devbroker.topic_config import TopicConfig
from repertory.streams.devbroker.topics import Topics, check_name

Opened = tuple[MetadataJournal, Topics, CommittedOffsets]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[[], Opened]]:
    """Return a function that opens the test's folder, as after a sudden end of what had it open."""
    opened: list[Opened] = []

    def close() -> None:
        for journal, topics, _ in opened:
            topics.close()
            journal.close()
        opened.clear()

    def reopen() -> Opened:
        close()
        journal = MetadataJournal(tmp_path / "metadata.jsonl")
        topics, offsets = Topics(tmp_path / "logs", journal), CommittedOffsets(journal)
        for event in journal.read():
            topics.replay(event)
            offsets.replay(event)
        topics.open()
        journal.rewrite([*topics.events(), *offsets.events()])
        opened.append((journal, topics, offsets))
        return opened[0]

    yield reopen
    close()


@pytest.fixture
def topics(reopen: Callable[[], Opened]) -> Topics:
    """Return no topics yet."""
    return reopen()[1]


HOSTILE = ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "ä", "x" * 250, "a b", "~", "a\n"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_kafka_does_not_allow_is_refused(
    topics: Topics, tmp_path: Path, name: str
) -> None:
    with pytest.raises(Refused) as caught:
        topics.create(name, 1, {})
    assert caught.value.code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert list((tmp_path / "logs").iterdir()) == []


@given(st.text())
def test_no_name_that_is_allowed_leaves_the_folder(name: str) -> None:
    try:
        check_name(name)
    except Refused:
        return
    folder = Path("/logs")
    assert (folder / f"{name}-0").parent == folder
    assert (folder / f"{name}-0").name.isascii()


def test_topics_are_there_again(topics: Topics, reopen: Callable[[], Opened]) -> None:
    topics.create("a", 2, {"retention.ms": "5"})
    topics.create("b", 1, {})
    topics.grow("a", 3)
    topics.configure("b", {"cleanup.policy": "compact"})
    topics.create("c", 1, {})
    topics.delete("c")
    _, again, _ = reopen()
    assert list(again) == ["a", "b"]
    assert len(again.topic("a").partitions) == 3
    assert again.topic("a").config.own == {"retention.ms": "5"}
    assert again.topic("b").config.compacts


def test_what_a_cut_short_deletion_left_is_removed(
    topics: Topics, reopen: Callable[[], Opened], tmp_path: Path
) -> None:
    topics.create("a", 1, {})
    (tmp_path / "logs" / "gone-0").mkdir()
    (tmp_path / "logs" / "notes").mkdir()
    reopen()
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"a-0", "notes"}


@pytest.mark.parametrize(
    ("count", "code"),
    [
        (0, ErrorCode.INVALID_PARTITIONS),
        (-5, ErrorCode.INVALID_PARTITIONS),
        (10**6, ErrorCode.INVALID_PARTITIONS),
    ],
)
def test_an_impossible_number_of_partitions_is_refused(
    topics: Topics, count: int, code: ErrorCode
) -> None:
    with pytest.raises(Refused) as caught:
        topics.create("a", count, {})
    assert caught.value.code is code


def test_partitions_only_grow(topics: Topics) -> None:
    topics.create("a", 2, {})
    with pytest.raises(Refused, match="only grow"):
        topics.grow("a", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "shred"),
        ("cleanup.policy", "compact,compact"),
        ("retention.ms", "a week"),
        ("retention.ms", "-2"),
        ("retention.ms", ""),
        ("segment.bytes", "5"),
        ("min.cleanable.dirty.ratio", "2"),
        ("compression.type", "zstd"),
        ("message.timestamp.type", "LogAppendTime"),
        ("colour", "blue"),
    ],
)
def test_a_setting_that_is_not_honoured_is_refused(name: str, value: str) -> None:
    with pytest.raises(Refused, match=name) as caught:
        TopicConfig({name: value})
    assert caught.value.code is ErrorCode.INVALID_CONFIG


def test_a_refused_change_changes_nothing(topics: Topics) -> None:
    topics.create("a", 1, {"retention.ms": "5"})
    with pytest.raises(Refused):
        topics.configure("a", {"retention.ms": "6", "colour": "blue"})
    assert topics.topic("a").config.retention_ms == 5


def test_committed_offsets_are_there_again(reopen: Callable[[], Opened]) -> None:
    _, topics, offsets = reopen()
    for topic in ("a", "b"):
        topics.create(topic, 1, {})
        offsets.commit("g", {(topic, 0): Committed(7, "ü"), (topic, 1): Committed(8, None)})
    offsets.commit("h", {("a", 0): Committed(1, "")})
    topics.delete("b")
    offsets.delete_group("h")
    _, _, again = reopen()
    assert again.of("g") == {("a", 0): (7, "ü"), ("a", 1): (8, None)}
    assert again.groups() == ["g"]


def test_a_torn_line_of_the_journal_does_not_count(
    reopen: Callable[[], Opened], tmp_path: Path
) -> None:
    _, _, offsets = reopen()
    offsets.commit("g", {("a", 0): Committed(1, "")})
    offsets.commit("g", {("a", 0): Committed(2, ""), ("a", 1): Committed(2, "")})
    path = tmp_path / "metadata.jsonl"
    whole = path.read_bytes()
    for size in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:size])
        _, _, again = reopen()
        assert again.of("g") == {("a", 0): (1, "")}


def test_the_journal_does_not_grow_for_ever(reopen: Callable[[], Opened], tmp_path: Path) -> None:
    journal, _, offsets = reopen()
    for number in range(20_001):
        offsets.commit("g", {("a", 0): Committed(number, "")})
    assert journal.bloated
    journal.rewrite(offsets.events())
    assert not journal.bloated
    offsets.commit("g", {("a", 0): Committed(99, "")})
    assert len((tmp_path / "metadata.jsonl").read_bytes().splitlines()) == 2


def test_damage_inside_the_journal_is_told_not_swallowed(
    reopen: Callable[[], Opened], tmp_path: Path
) -> None:
    _, _, offsets = reopen()
    offsets.commit("g", {("a", 0): Committed(1, "")})
    path = tmp_path / "metadata.jsonl"
    path.write_bytes(b'["offsets", oops\n' + path.read_bytes())
    with pytest.raises(LogDamaged, match=r"metadata\.jsonl: line 1"):
        reopen()
    path.unlink()


def test_what_the_journal_has_no_room_for_did_not_happen(
    reopen: Callable[[], Opened], full_disk: Callable[[int], None], tmp_path: Path
) -> None:
    _, topics, offsets = reopen()
    topics.create("a", 1, {})
    full_disk((tmp_path / "metadata.jsonl").stat().st_size + 5)
    actions: list[Callable[[], None]] = [
        lambda: topics.create("b", 1, {}),
        lambda: topics.configure("a", {"retention.ms": "5"}),
        lambda: topics.delete("a"),
        lambda: offsets.commit("g", {("a", 0): Committed(1, "")}),
    ]
    for action in actions:
        with pytest.raises(Refused) as caught:
            action()
        assert caught.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    full_disk(1 << 20)
    offsets.commit("g", {("a", 0): Committed(2, "")})
    for _, current, committed in ((None, topics, offsets), reopen()):
        assert (list(current), current.topic("a").config.own) == (["a"], {})
        assert committed.of("g") == {("a", 0): (2, "")}
