"""Files that an older Repertory wrote: they are brought up to date, and nothing in them is lost."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from repertory.journal.catalog import Catalog, OnStage, Retirement
from repertory.journal.journal import Entry
from repertory.journal.lifecycle import ModelState
from repertory.journal.sqlite import SqliteJournal

# As they were written then, word for word.
JOURNAL_1 = """
CREATE TABLE entries (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    data_type TEXT NOT NULL,
    published_ms INTEGER NOT NULL,
    origin TEXT UNIQUE,
    rollback_to INTEGER,
    sha256 BLOB,
    descriptor BLOB,
    CHECK ((descriptor IS NULL) <> (rollback_to IS NULL))
);
PRAGMA application_id=0x52504A4C;
PRAGMA user_version=1;
"""
CATALOG_1 = """
CREATE TABLE versions (
    data_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    model_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    published_ms INTEGER NOT NULL,
    origin TEXT,
    state TEXT NOT NULL,
    PRIMARY KEY (data_type, version)
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_serving ON versions (data_type) WHERE state = 'SERVING';
CREATE TABLE steps (
    step INTEGER PRIMARY KEY,
    data_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    FOREIGN KEY (data_type, version) REFERENCES versions (data_type, version)
);
CREATE INDEX steps_of_version ON steps (data_type, version, step);
CREATE TABLE stage (
    data_type TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    FOREIGN KEY (data_type, version) REFERENCES versions (data_type, version)
);
CREATE TABLE processed (journal TEXT PRIMARY KEY, position INTEGER NOT NULL);
PRAGMA application_id=0x52504354;
PRAGMA user_version=1;
"""
CATALOG_2 = """
CREATE TABLE retirements (
    data_type TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    version INTEGER
);
INSERT INTO retirements VALUES ('beer', 5, 500, NULL);
PRAGMA user_version=2;
"""
# Two versions; the first serves again, since a roll back at position 3.
WINES = """
INSERT INTO versions VALUES ('wine', 1, 'forest', '', 'ONNX', 'aa', 100, NULL, 'SERVING');
INSERT INTO versions VALUES ('wine', 2, 'forest', 'worse', 'ONNX', 'bb', 200, 'm/0/2', 'RETIRED');
INSERT INTO steps VALUES (1, 'wine', 1, 'SERVING', 300, '');
INSERT INTO steps VALUES (2, 'wine', 2, 'RETIRED', 300, 'version 1 took its place');
INSERT INTO stage VALUES ('wine', 1, 3);
INSERT INTO processed VALUES ('sqlite', 4);
"""


def write(path: Path, *scripts: str) -> Path:
    """Write a SQLite file, in WAL mode like all of ours."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for script in scripts:
            connection.executescript(script)
    return path


@pytest.mark.parametrize("scripts", [(CATALOG_1, WINES), (CATALOG_1, WINES, CATALOG_2)])
def test_a_catalog_of_before_keeps_its_versions_in_the_default_slot(
    tmp_path: Path, scripts: tuple[str, ...]
) -> None:
    path = write(tmp_path / "catalog.sqlite", *scripts)
    for _ in range(2):  # the second time, it is up to date
        with closing(Catalog(path)) as catalog:
            (first,) = catalog.all_serving("wine")
            assert (first.version, first.slot, first.serving_since_ms) == (1, "", 300)
            assert catalog.all_on_stage("wine") == [OnStage("wine", 1, 3, "")]
            assert catalog.newest("wine", "forest") == first
            second = catalog.get("wine", 2)
            assert (second.description, second.origin) == ("worse", "m/0/2")
            assert (second.reason, second.signature) == ("version 1 took its place", "")
            assert catalog.processed("sqlite") == 4


def test_a_catalog_of_before_takes_slots_policies_and_retirements(tmp_path: Path) -> None:
    path = write(tmp_path / "catalog.sqlite", CATALOG_1, WINES, CATALOG_2)
    with closing(Catalog(path)) as catalog:
        assert catalog.retirement("beer") == Retirement("beer", 5, 500, None)
        catalog.put_on_stage("wine", 2, position=6, slot="forest")
        catalog.move("wine", 2, ModelState.SERVING, slot="forest")
        assert [(one.version, one.slot) for one in catalog.all_serving("wine")] == (
            [(1, ""), (2, "forest")]
        )
        assert catalog.policies("wine") == []


def test_a_journal_of_before_keeps_its_entries_and_takes_policies(tmp_path: Path) -> None:
    path = write(tmp_path / "journal.sqlite", JOURNAL_1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO entries VALUES (?, 'wine', 100, NULL, ?, ?, ?)",
            [
                (1, None, hashlib.sha256(b"m").digest(), b"m"),
                (2, 0, None, None),
                (3, 1, None, None),
            ],
        )
    with closing(SqliteJournal(path)) as journal:
        policy = journal.set_policy("wine", b"policy")
        assert list(journal.read(0)) == [
            Entry(1, "wine", 100, descriptor=b"m"),
            Entry(2, "wine", 100, retires=True),
            Entry(3, "wine", 100, rollback_to=1),
            policy,
        ]
        assert (policy.position, policy.policy) == (4, b"policy")
        journal.check()
