"""The tables of the catalog's file, and how their rows become values."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from repertory.errors import NotFound
from repertory.journal.database import Schema
from repertory.journal.lifecycle import ModelState
from repertory.journal.versions import ModelVersion, OnStage, Retirement, Step

SCHEMA = Schema(
    kind="catalog",
    application_id=0x52504354,  # RPCT
    steps=(
        (
            """CREATE TABLE versions (
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
            ) WITHOUT ROWID""",
            "CREATE UNIQUE INDEX one_serving ON versions (data_type) WHERE state = 'SERVING'",
            """CREATE TABLE steps (
                step INTEGER PRIMARY KEY,
                data_type TEXT NOT NULL,
                version INTEGER NOT NULL,
                state TEXT NOT NULL,
                at_ms INTEGER NOT NULL,
                reason TEXT NOT NULL,
                FOREIGN KEY (data_type, version) REFERENCES versions (data_type, version)
            )""",
            "CREATE INDEX steps_of_version ON steps (data_type, version, step)",
            """CREATE TABLE stage (
                data_type TEXT PRIMARY KEY,
                version INTEGER NOT NULL,
                position INTEGER NOT NULL,
                FOREIGN KEY (data_type, version) REFERENCES versions (data_type, version)
            )""",
            "CREATE TABLE processed (journal TEXT PRIMARY KEY, position INTEGER NOT NULL)",
        ),
        (
            """CREATE TABLE retirements (
                data_type TEXT PRIMARY KEY,
                position INTEGER NOT NULL,
                at_ms INTEGER NOT NULL,
                version INTEGER
            )""",
        ),
        # Several versions may serve, in a slot each; and policies. `staged` is the position of the
        # last entry that put a version on stage: it ranks the versions of one name.
        (
            "ALTER TABLE versions ADD COLUMN slot TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE versions ADD COLUMN staged INTEGER NOT NULL DEFAULT 0",
            "DROP INDEX one_serving",
            "CREATE UNIQUE INDEX one_serving ON versions (data_type, slot) WHERE state = 'SERVING'",
            """CREATE TABLE stage_by_slot (
                data_type TEXT NOT NULL,
                slot TEXT NOT NULL,
                version INTEGER NOT NULL,
                position INTEGER NOT NULL,
                PRIMARY KEY (data_type, slot),
                FOREIGN KEY (data_type, version) REFERENCES versions (data_type, version)
            ) WITHOUT ROWID""",
            "INSERT INTO stage_by_slot SELECT data_type, '', version, position FROM stage",
            """UPDATE versions SET staged = coalesce(
                (SELECT position FROM stage
                 WHERE data_type = versions.data_type AND version = versions.version), 0)""",
            "DROP TABLE stage",
            "ALTER TABLE stage_by_slot RENAME TO stage",
            """CREATE TABLE policies (
                data_type TEXT NOT NULL,
                version INTEGER NOT NULL,
                settings TEXT NOT NULL,
                description TEXT NOT NULL,
                published_ms INTEGER NOT NULL,
                origin TEXT,
                state TEXT NOT NULL,
                reason TEXT NOT NULL,
                decided_ms INTEGER,
                PRIMARY KEY (data_type, version)
            ) WITHOUT ROWID""",
            "CREATE UNIQUE INDEX one_in_force ON policies (data_type) WHERE state = 'IN_FORCE'",
        ),
        ("ALTER TABLE versions ADD COLUMN signature TEXT NOT NULL DEFAULT ''",),
    ),
)
NO_VERSION = 2**63  # what SQLite cannot hold
COLUMNS = (
    "data_type, version, name, description, model_type, sha256, published_ms, origin, state, slot,"
    " signature"
)


def find_model(connection: sqlite3.Connection, data_type: str, version: int) -> ModelVersion | None:
    """Return a version, or None when there is none."""
    if not 0 <= version < NO_VERSION:
        return None
    found = models_where(connection, "data_type = ? AND version = ?", data_type, version)
    return found[0] if found else None


def get_model(connection: sqlite3.Connection, data_type: str, version: int) -> ModelVersion:
    """Return a version. Raises NotFound."""
    model = find_model(connection, data_type, version)
    if model is None:
        raise NotFound(f"there is no model version {version} of {data_type!r}")
    return model


def serving_models(connection: sqlite3.Connection, data_type: str) -> list[ModelVersion]:
    """Return what serves a data type, in the order of the slots' names: the default one first."""
    where = "data_type = ? AND state = 'SERVING' ORDER BY slot"
    return models_where(connection, where, data_type)


def models_where(
    connection: sqlite3.Connection, where: str, *parameters: object
) -> list[ModelVersion]:
    """Return the versions that a condition, which is part of a statement, finds."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM versions WHERE {where}", parameters)
    return [_model(connection, row) for row in rows.fetchall()]


def stage_of(connection: sqlite3.Connection, data_type: str) -> list[OnStage]:
    """Return what should be on stage, in the order of the slots' names."""
    rows = connection.execute(
        "SELECT data_type, version, position, slot FROM stage WHERE data_type = ? ORDER BY slot",
        (data_type,),
    )
    return [OnStage(*row) for row in rows]


def retirement_of(connection: sqlite3.Connection, data_type: str) -> Retirement | None:
    """Return why nothing should be on stage; None when something should, or never did."""
    row = connection.execute(
        "SELECT data_type, position, at_ms, version FROM retirements WHERE data_type = ?",
        (data_type,),
    ).fetchone()
    return None if row is None else Retirement(*row)


def title(model: ModelVersion) -> str:
    """Return how an error names a version."""
    return f"version {model.version} of {model.data_type!r}"


def _model(connection: sqlite3.Connection, row: Sequence[Any]) -> ModelVersion:
    *fields, state, slot, signature = row
    steps = connection.execute(
        "SELECT state, at_ms, reason FROM steps WHERE data_type = ? AND version = ? ORDER BY step",
        fields[:2],
    )
    history = tuple(Step(ModelState(name), at_ms, reason) for name, at_ms, reason in steps)
    # `state`, `history`, `slot` and `signature` are the last four fields.
    return ModelVersion(*(*fields, ModelState(state), history, slot, signature))
