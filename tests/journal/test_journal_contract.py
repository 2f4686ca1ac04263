"""What every journal promises, whatever it is made of."""

import threading
import time
from collections.abc import Callable

import pytest

from repertory.errors import JournalError
from repertory.journal.clock import epoch_ms
from repertory.journal.journal import Entry, Journal
from repertory.protos.policy_pb2 import Policy

Open = Callable[[], Journal]
ReadAll = Callable[[Journal], list[Entry]]
WINE_POLICY = Policy(dataType="wine", settings='{"policy": "latest"}').SerializeToString()


@pytest.mark.parametrize("descriptor", [b"", b"\x00\xff not a descriptor", bytes(5 << 20)])
def test_what_is_appended_is_read(open_journal: Open, descriptor: bytes) -> None:
    journal = open_journal()
    before = epoch_ms()
    entry = journal.append("wine", descriptor)
    assert (entry.position, entry.data_type, entry.descriptor) == (1, "wine", descriptor)
    assert entry.rollback_to is None
    assert before <= entry.published_ms <= epoch_ms()
    assert list(journal.read(0)) == [entry]


def test_positions_rise_over_all_data_types(open_journal: Open, read_all: ReadAll) -> None:
    journal = open_journal()
    entries = [journal.append(f"type-{number % 3}", b"model") for number in range(30)]
    assert [entry.position for entry in entries] == list(range(1, 31))
    assert read_all(journal) == entries


def test_reading_begins_after_a_position(open_journal: Open) -> None:
    journal = open_journal()
    entries = [journal.append("wine", b"model") for _ in range(3)]
    assert list(journal.read(2)) == entries[2:]
    assert list(journal.read(1, limit=1)) == entries[1:2]
    assert list(journal.read(3)) == []


def test_at_most_so_many_entries_are_read(open_journal: Open) -> None:
    journal = open_journal()
    entries = [journal.append("wine", b"model") for _ in range(5)]
    assert list(journal.read(0, limit=3)) == entries[:3]
    assert list(journal.read(3, limit=3)) == entries[3:]


def test_an_empty_journal_is_waited_for_as_long_as_asked(open_journal: Open) -> None:
    journal = open_journal()
    start = time.monotonic()
    assert list(journal.read(0, timeout=0.2)) == []
    assert 0.2 <= time.monotonic() - start < 5


def test_a_waiting_reader_gets_what_another_appends(open_journal: Open) -> None:
    reader, writer = open_journal(), open_journal()
    writer.append("wine", b"first")
    appending = threading.Timer(0.2, writer.append, ("wine", b"second"))
    appending.start()
    start = time.monotonic()
    (entry,) = reader.read(1, timeout=20)
    appending.join()
    assert entry.descriptor == b"second"
    assert time.monotonic() - start < 10


def test_another_reader_sees_the_same(open_journal: Open, read_all: ReadAll) -> None:
    first, second = open_journal(), open_journal()
    entries = [first.append("wine", b"one"), second.append("beer", b"two")]
    entries.append(first.roll_back("beer", entries[1].position))
    assert read_all(first) == read_all(second) == read_all(open_journal()) == entries


def test_an_entry_is_found_by_its_position(open_journal: Open) -> None:
    journal = open_journal()
    entries = [journal.append("wine", b"one"), journal.roll_back("wine", 1)]
    assert [journal.get(position) for position in (1, 2)] == entries


@pytest.mark.parametrize("position", [-1, 0, 2, 10**30])
def test_there_is_no_entry_where_nothing_was_appended(open_journal: Open, position: int) -> None:
    journal = open_journal()
    journal.append("wine", b"model")
    assert journal.get(position) is None


def test_looking_an_entry_up_does_not_disturb_reading(open_journal: Open) -> None:
    journal = open_journal()
    entries = [journal.append("wine", bytes([number])) for number in range(6)]
    seen: list[Entry] = []
    for position in (5, 1, 6, 3, 2, 4):
        seen += journal.read(len(seen), limit=1)
        assert journal.get(position) == entries[position - 1]
    assert seen == entries


def test_a_roll_back_is_an_entry(open_journal: Open) -> None:
    journal = open_journal()
    journal.append("wine", b"one")
    journal.append("wine", b"two")
    entry = journal.roll_back("wine", 1)
    assert (entry.position, entry.data_type, entry.descriptor, entry.rollback_to) == (
        (3, "wine", None, 1)
    )
    assert list(journal.read(2)) == [entry]


def test_a_retirement_is_an_entry(open_journal: Open, read_all: ReadAll) -> None:
    journal = open_journal()
    model, retired = journal.append("wine", b"one"), journal.retire("wine")
    again = journal.roll_back("wine", model.position)
    assert (retired.position, retired.data_type, retired.retires) == (2, "wine", True)
    assert (retired.descriptor, retired.rollback_to) == (None, None)
    assert read_all(open_journal()) == [model, retired, again]
    assert journal.get(2) == retired


@pytest.mark.parametrize("policy", [b"", b"\x00\xff no policy", WINE_POLICY])
def test_a_policy_is_an_entry(open_journal: Open, read_all: ReadAll, policy: bytes) -> None:
    journal = open_journal()
    model, entry = journal.append("wine", b"one"), journal.set_policy("wine", policy)
    assert (entry.position, entry.data_type, entry.policy) == (2, "wine", policy)
    assert (entry.descriptor, entry.rollback_to, entry.retires) == (None, None, False)
    assert read_all(open_journal()) == [model, entry]
    assert journal.get(2) == entry


def test_a_journal_that_is_well_has_no_trouble(open_journal: Open) -> None:
    journal = open_journal()
    journal.append("wine", b"one")
    assert journal.trouble() is None


@pytest.mark.parametrize(
    ("data_type", "version", "reason"),
    [
        ("wine", 5, "no model version 5"),
        ("wine", 0, "no model version 0"),
        ("wine", 10**30, "no model version"),
        ("beer", 1, "of 'wine', not 'beer'"),
        ("wine", 2, "itself a roll back; go back to version 1"),
        ("wine", 3, "entry 3 retired 'wine'"),
        ("wine", 4, "entry 4 is a policy, no model to go back to"),
    ],
)
def test_only_to_a_model_of_that_type_can_one_go_back(
    open_journal: Open, data_type: str, version: int, reason: str
) -> None:
    journal = open_journal()
    journal.append("wine", b"model")
    journal.roll_back("wine", 1)
    journal.retire("wine")
    journal.set_policy("wine", WINE_POLICY)
    with pytest.raises(JournalError, match=reason):
        journal.roll_back(data_type, version)
    assert list(journal.read(4)) == []


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_origin_is_appended_once(request: pytest.FixtureRequest, kind: str) -> None:
    open_journal: Open = request.getfixturevalue(f"open_{kind}")
    first = open_journal().append("wine", b"model", origin="models/0/17")
    journal = open_journal()
    journal.append("wine", b"model", origin="models/0/18")
    assert journal.append("wine", b"model", origin="models/0/17") == first
    assert [entry.position for entry in journal.read(0)] == [1, 2]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_retirement_of_an_origin_is_appended_once(
    request: pytest.FixtureRequest, kind: str
) -> None:
    journal: Journal = request.getfixturevalue(f"open_{kind}")()
    first = journal.retire("wine", origin="models/0/17")
    model = journal.append("wine", b"model")
    assert journal.retire("wine", origin="models/0/17") == first
    assert list(journal.read(0)) == [first, model]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_policy_of_an_origin_is_appended_once(request: pytest.FixtureRequest, kind: str) -> None:
    journal: Journal = request.getfixturevalue(f"open_{kind}")()
    first = journal.set_policy("wine", WINE_POLICY, origin="models/0/17")
    model = journal.append("wine", b"model")
    assert journal.set_policy("wine", WINE_POLICY, origin="models/0/17") == first
    assert list(journal.read(0)) == [first, model]


def test_whence_an_entry_came_is_read_with_it(open_journal: Open, read_all: ReadAll) -> None:
    journal, origin = open_journal(), "http/17 token ab12 (Zoë)"
    journal.append("wine", b"model", origin=origin)
    journal.retire("wine", origin=f"{origin} again")
    assert [entry.origin for entry in read_all(journal)] == [origin, f"{origin} again"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_equal_models_without_origin_are_each_appended(
    request: pytest.FixtureRequest, kind: str
) -> None:
    journal: Journal = request.getfixturevalue(f"open_{kind}")()
    assert [journal.append("wine", b"model").position for _ in range(2)] == [1, 2]


def test_closing_twice_is_allowed(open_journal: Open) -> None:
    journal = open_journal()
    journal.append("wine", b"model")
    journal.close()
    journal.close()
