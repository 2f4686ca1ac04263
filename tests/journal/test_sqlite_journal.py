"""The SQLite journal: crashes, several processes, and files that are not right."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from repertory.errors import JournalError
from repertory.journal import database, sqlite
from repertory.journal.catalog import Catalog
from repertory.journal.journal import Entry, Journal
from repertory.journal.sqlite import SqliteJournal

ReadAll = Callable[[Journal], list[Entry]]
CHILDREN = Path(__file__).parent / "children"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal of this test is."""
    return tmp_path / "journal.sqlite"


@pytest.mark.parametrize("seed", range(4))
def test_what_was_acknowledged_survives_kill_9(
    path: Path, kill_child: Callable[..., int], read_all: ReadAll, seed: int
) -> None:
    chance = random.Random(seed)
    acknowledged = 0
    for _ in range(2):
        last = kill_child("append_forever", path, after_lines=chance.randint(1, 60))
        acknowledged = max(acknowledged, last)
    journal = SqliteJournal(path)
    journal.check()
    positions = [entry.position for entry in read_all(journal)]
    journal.close()
    assert positions == list(range(1, len(positions) + 1))
    assert len(positions) in (acknowledged, acknowledged + 1)  # one may have been under way


def test_processes_append_an_origin_once(path: Path, read_all: ReadAll) -> None:
    command = [sys.executable, str(CHILDREN / "append_origins.py"), str(path), "60"]
    children = [subprocess.Popen(command) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    journal = SqliteJournal(path)
    assert len(read_all(journal)) == 60
    journal.close()


def test_a_failed_write_is_an_error_and_leaves_the_journal_as_it_was(
    path: Path, run_child: Callable[..., str]
) -> None:
    journal = SqliteJournal(path)
    journal.append("wine", b"before")
    assert f"{path}: disk I/O error; the disk failed" in run_child("append_over_limit", path)
    journal.append("wine", b"after")
    assert [entry.descriptor for entry in journal.read(0)] == [b"before", b"after"]
    journal.close()


def test_a_full_disk_is_an_error_and_the_journal_goes_on(path: Path) -> None:
    journal = SqliteJournal(path)
    (pages,) = journal._database.rows("PRAGMA page_count")[0]
    journal._database.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(JournalError, match=r"journal\.sqlite: .* full; free some space"):
        journal.append("wine", bytes(1 << 20))
    assert list(journal.read(0)) == []
    assert journal.append("wine", b"small").descriptor == b"small"
    journal.close()


def test_a_lock_that_is_held_too_long_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    journal, other = SqliteJournal(path), SqliteJournal(path)
    with (
        other._database.transaction(),
        pytest.raises(JournalError, match=r"journal\.sqlite: database is locked; another process"),
    ):
        journal.append("wine", b"model")
    assert journal.append("wine", b"model").position == 1
    journal.close()
    other.close()


def test_a_flipped_bit_in_a_descriptor_is_noticed(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.append("wine", b"a sound model")
    journal.append("wine", b"MODEL" * 2000)
    journal.close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"MODELMODEL", b"MODELMOdEL", 1))
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match=r"journal\.sqlite: the descriptor at position 2"):
        journal.read(0)
    with pytest.raises(JournalError, match="position 2"):
        journal.check()
    assert journal.get(1) is not None
    journal.close()


def test_a_flipped_bit_in_a_policy_is_noticed(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.set_policy("wine", b"POLICY" * 2000)
    journal.close()
    path.write_bytes(path.read_bytes().replace(b"POLICYPOLICY", b"POLICYPOlICY", 1))
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match=r"journal\.sqlite: the policy at position 1"):
        journal.get(1)
    journal.close()


def test_a_damaged_file_is_named(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.append("wine", bytes(100_000))
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096 : 3 * 4096] = random.Random(1).randbytes(2 * 4096)
    path.write_bytes(content)
    with (
        pytest.raises(JournalError, match=r"journal\.sqlite: .*the file is damaged; move it away"),
        closing(SqliteJournal(path)) as journal,
    ):
        journal.check()


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_bytes(b"certainly no database" * 500)
    with pytest.raises(JournalError, match="no SQLite file; move it away"):
        SqliteJournal(path)


def test_a_database_of_others_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalError, match="is not a journal; move it away"):
        SqliteJournal(path)


def test_the_catalog_is_not_taken_for_the_journal(path: Path) -> None:
    Catalog(path).close()
    with pytest.raises(JournalError, match="is not a journal"):
        SqliteJournal(path)


def test_a_journal_of_a_newer_repertory_is_refused(path: Path) -> None:
    SqliteJournal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="schema version 99, written by a newer Repertory"):
        SqliteJournal(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="create its folder"):
        SqliteJournal(tmp_path / "missing" / "journal.sqlite")


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append("wine", b"model")


def test_one_read_does_not_fill_the_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "READ_BYTES", 1000)
    journal = SqliteJournal(path)
    for size in (400, 500, 600, 5000, 1):
        journal.append("wine", bytes(size))
    counts = [len(journal.read(after)) for after in (0, 2, 3, 4)]
    assert counts == [2, 1, 1, 1]
    journal.close()


def test_each_commit_waits_for_the_disk(path: Path) -> None:
    journal = SqliteJournal(path)
    assert journal._database.rows("PRAGMA synchronous") == [(2,)]  # FULL
    assert journal._database.rows("PRAGMA journal_mode") == [("wal",)]
    journal.close()
