"""The catalog: what became of each model version, kept by the keeper process of a node.

It can be rebuilt from the journal, except for the times and the reasons.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repertory.errors import JournalError, NotFound
from repertory.journal.clock import epoch_ms
from repertory.journal.database import Database, Schema
from repertory.journal.lifecycle import ModelState, check_transition

_SCHEMA = Schema(
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
    ),
)
_NO_VERSION = 2**63  # what SQLite cannot hold
_COLUMNS = "data_type, version, name, description, model_type, sha256, published_ms, origin, state"


@dataclass(frozen=True, slots=True)
class Step:
    """A model version came to `state`; the reason is empty where none is needed."""

    state: ModelState
    at_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model version and its life so far. Times are milliseconds since the epoch."""

    data_type: str
    version: int
    name: str
    description: str
    model_type: str
    sha256: str
    published_ms: int
    origin: str | None = None
    state: ModelState = ModelState.PUBLISHED
    history: tuple[Step, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is in its state."""
        return self.history[-1].reason if self.history else ""

    @property
    def serving_since_ms(self) -> int | None:
        """When it last went on stage."""
        return self._last(ModelState.SERVING)

    @property
    def retired_ms(self) -> int | None:
        """When it last left the stage."""
        return self._last(ModelState.RETIRED)

    def _last(self, state: ModelState) -> int | None:
        times = (step.at_ms for step in reversed(self.history) if step.state is state)
        return next(times, None)


@dataclass(frozen=True, slots=True)
class OnStage:
    """The version that should serve a data type, and the journal position that put it there."""

    data_type: str
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class Retirement:
    """No version should serve a data type: since when, and which journal position says so.

    `version` is the one that served until then; None when none did.
    """

    data_type: str
    position: int
    at_ms: int
    version: int | None


class Catalog:
    """The catalog in the file at `path`, which is created when missing; its folder must exist.

    Each call is one transaction, on the disk when it returns. Everything may raise JournalError.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = epoch_ms) -> None:
        self._database = Database(path, _SCHEMA)
        self._clock = clock

    def record(self, model: ModelVersion) -> ModelVersion:
        """Enter a version that was just published (its state and history are not looked at).

        Idempotent; what is recorded is returned. Raises JournalError when that version is already
        there with other content.
        """
        with self._database.transaction() as connection:
            present = _find(connection, model.data_type, model.version)
            if present is None:
                self._insert(connection, model)
            elif present.sha256 != model.sha256:
                raise JournalError(
                    f"{self._database.path}: {_title(model)} has digest {present.sha256}, and in"
                    f" the journal {model.sha256}: this is the catalog of another journal; move it"
                    " away"
                )
            return _get(connection, model.data_type, model.version)

    def move(
        self,
        data_type: str,
        version: int,
        state: ModelState,
        *,
        reason: str = "",
        at_ms: int | None = None,
    ) -> ModelVersion:
        """Take a version to a state, and return it.

        `at_ms` is when it came there, if that was not just now. Nothing happens when it is there already. The version that served until now is retired in
        the same transaction when another one goes to SERVING. Raises IllegalTransition, and
        NotFound when there is no such version.
        """
        with self._database.transaction() as connection:
            model = _get(connection, data_type, version)
            if model.state is state:
                return model
            check_transition(_title(model), model.state, state)
            at_ms = self._clock() if at_ms is None else at_ms
            if state is ModelState.SERVING:
                self._retire_former(connection, model, at_ms)
            self._step(connection, model, Step(state, at_ms, reason))
            return _get(connection, data_type, version)

    def get(self, data_type: str, version: int) -> ModelVersion:
        """Return a version. Raises NotFound."""
        with self._database.reading() as connection:
            return _get(connection, data_type, version)

    def versions(self, data_type: str, *, limit: int = -1) -> Sequence[ModelVersion]:
        """Return the versions of a data type, the newest first; all, or at most `limit`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM versions WHERE data_type = ?"
                " ORDER BY version DESC LIMIT ?",
                (data_type, limit),
            ).fetchall()
            return [_model(connection, row) for row in rows]

    def serving(self, data_type: str) -> ModelVersion | None:
        """Return the version that serves, or served when the node stopped."""
        with self._database.reading() as connection:
            return _serving(connection, data_type)

    def put_on_stage(self, data_type: str, version: int, *, position: int) -> OnStage | Retirement:
        """Note that the entry at `position` wants `version` on stage; return what should be there.

        Idempotent: an entry before the one that was noted last changes nothing. Raises NotFound
        when there is no such version.
        """
        with self._database.transaction() as connection:
            _get(connection, data_type, version)
            retired = _retirement(connection, data_type)
            if retired is not None and retired.position > position:
                return retired
            connection.execute("DELETE FROM retirements WHERE data_type = ?", (data_type,))
            connection.execute(
                "INSERT INTO stage VALUES (:data_type, :version, :position) ON CONFLICT DO UPDATE"
                " SET version = :version, position = :position WHERE position < :position",
                {"data_type": data_type, "version": version, "position": position},
            )
            ((version, position),) = connection.execute(
                "SELECT version, position FROM stage WHERE data_type = ?", (data_type,)
            )
        return OnStage(data_type, version, position)

    def on_stage(self, data_type: str) -> OnStage | None:
        """Return the version that should serve, or None when none should."""
        rows = self._database.rows(
            "SELECT data_type, version, position FROM stage WHERE data_type = ?", (data_type,)
        )
        return OnStage(*rows[0]) if rows else None

    def retire(self, data_type: str, *, position: int) -> OnStage | Retirement:
        """Note that the entry at `position` wants nothing on stage; return what should be there.

        The version that serves is RETIRED in the same transaction. What is retired already stays so
        since then. Idempotent: an entry before the one that was noted last changes nothing.
        """
        with self._database.transaction() as connection:
            noted = _wanted(connection, data_type)
            if noted is not None and noted.position >= position:
                return noted
            if isinstance(noted, Retirement):
                retired = replace(noted, position=position)
            else:
                version = self._retire_serving(connection, data_type, position)
                retired = Retirement(data_type, position, self._clock(), version)
            connection.execute("DELETE FROM stage WHERE data_type = ?", (data_type,))
            connection.execute(
                "INSERT OR REPLACE INTO retirements VALUES (?, ?, ?, ?)",
                (data_type, position, retired.at_ms, retired.version),
            )
        return retired

    def retirement(self, data_type: str) -> Retirement | None:
        """Return why no version should serve, or None when one should, or none ever did."""
        with self._database.reading() as connection:
            return _retirement(connection, data_type)

    def processed(self, journal: str) -> int:
        """Return the position up to which the entries of a journal were handled; 0 at first."""
        rows = self._database.rows("SELECT position FROM processed WHERE journal = ?", (journal,))
        return int(rows[0][0]) if rows else 0

    def mark_processed(self, journal: str, position: int) -> None:
        """Note that the entries of a journal were handled up to `position`. Never goes back."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO processed VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET position = max(position, excluded.position)",
                (journal, position),
            )

    def versions_to_keep(self, data_type: str, count: int) -> frozenset[int]:
        """Return the versions whose prepared files should stay.

        These are the ones on their way, the one that serves and the one that should; and of the
        retired ones, last served first, as many as make it `count` in all.
        """
        models = self.versions(data_type)
        wanted = self.on_stage(data_type)
        kept = [model.version for model in models if model.state in _NEEDED]
        if wanted is not None and wanted.version not in kept:
            kept.append(wanted.version)
        retired = [model for model in models if model.state is ModelState.RETIRED]
        retired.sort(key=lambda model: model.serving_since_ms or 0, reverse=True)
        spare = [model.version for model in retired if model.version not in kept]
        return frozenset(kept + spare[: max(0, count - len(kept))])

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def _insert(self, connection: sqlite3.Connection, model: ModelVersion) -> None:
        connection.execute(
            f"INSERT INTO versions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                model.data_type,
                model.version,
                model.name,
                model.description,
                model.model_type,
                model.sha256,
                model.published_ms,
                model.origin,
                ModelState.PUBLISHED,
            ),
        )
        self._step(connection, model, Step(ModelState.PUBLISHED, self._clock()))

    def _retire_former(
        self, connection: sqlite3.Connection, successor: ModelVersion, at_ms: int
    ) -> None:
        former = _serving(connection, successor.data_type)
        if former is not None:
            reason = f"version {successor.version} took its place"
            self._step(connection, former, Step(ModelState.RETIRED, at_ms, reason))

    def _retire_serving(
        self, connection: sqlite3.Connection, data_type: str, position: int
    ) -> int | None:
        former = _serving(connection, data_type)
        if former is None:
            return None
        reason = f"the model of {data_type!r} was retired (journal position {position})"
        self._step(connection, former, Step(ModelState.RETIRED, self._clock(), reason))
        return former.version

    def _step(self, connection: sqlite3.Connection, model: ModelVersion, step: Step) -> None:
        key = (model.data_type, model.version)
        connection.execute(
            "UPDATE versions SET state = ? WHERE data_type = ? AND version = ?", (step.state, *key)
        )
        connection.execute(
            "INSERT INTO steps (data_type, version, state, at_ms, reason) VALUES (?, ?, ?, ?, ?)",
            (*key, step.state, step.at_ms, step.reason),
        )


# Versions whose prepared files are in use, or about to be.
_NEEDED = frozenset({ModelState.LOADING, ModelState.WARM, ModelState.SERVING})


def _title(model: ModelVersion) -> str:
    return f"version {model.version} of {model.data_type!r}"


def _get(connection: sqlite3.Connection, data_type: str, version: int) -> ModelVersion:
    model = _find(connection, data_type, version)
    if model is None:
        raise NotFound(f"there is no model version {version} of {data_type!r}")
    return model


def _find(connection: sqlite3.Connection, data_type: str, version: int) -> ModelVersion | None:
    if not 0 <= version < _NO_VERSION:
        return None
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM versions WHERE data_type = ? AND version = ?", (data_type, version)
    ).fetchone()
    return None if row is None else _model(connection, row)


def _serving(connection: sqlite3.Connection, data_type: str) -> ModelVersion | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM versions WHERE data_type = ? AND state = 'SERVING'", (data_type,)
    ).fetchone()
    return None if row is None else _model(connection, row)


def _wanted(connection: sqlite3.Connection, data_type: str) -> OnStage | Retirement | None:
    row = connection.execute(
        "SELECT data_type, version, position FROM stage WHERE data_type = ?", (data_type,)
    ).fetchone()
    return _retirement(connection, data_type) if row is None else OnStage(*row)


def _retirement(connection: sqlite3.Connection, data_type: str) -> Retirement | None:
    row = connection.execute(
        "SELECT data_type, position, at_ms, version FROM retirements WHERE data_type = ?",
        (data_type,),
    ).fetchone()
    return None if row is None else Retirement(*row)


def _model(connection: sqlite3.Connection, row: Sequence[Any]) -> ModelVersion:
    *fields, state = row
    steps = connection.execute(
        "SELECT state, at_ms, reason FROM steps WHERE data_type = ? AND version = ? ORDER BY step",
        fields[:2],
    )
    history = tuple(Step(ModelState(name), at_ms, reason) for name, at_ms, reason in steps)
    # `state` and `history` are the last two fields.
    return ModelVersion(*(*fields, ModelState(state), history))
