"""The catalog: what became of each model and policy version, kept by the keeper process of a node.

It can be rebuilt from the journal, except for the times and the reasons.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from repertory.errors import JournalError
from repertory.journal.catalog_tables import (
    COLUMNS,
    SCHEMA,
    find_model,
    get_model,
    models_where,
    retirement_of,
    serving_models,
    stage_of,
    title,
)
from repertory.journal.clock import epoch_ms
from repertory.journal.database import Database
from repertory.journal.lifecycle import ModelState, PolicyState, check_transition
from repertory.journal.policy_history import PolicyHistory
from repertory.journal.versions import (
    DEFAULT_SLOT,
    ModelVersion,
    OnStage,
    PolicyVersion,
    Retirement,
    Step,
)

__all__ = [
    "DEFAULT_SLOT",
    "Catalog",
    "ModelState",
    "ModelVersion",
    "OnStage",
    "PolicyState",
    "PolicyVersion",
    "Retirement",
    "Step",
]


class Catalog(PolicyHistory):
    """The catalog in the file at `path`, which is created when missing; its folder must exist.

    Each call is one transaction, on the disk when it returns. Everything may raise JournalError.
    """

    def __init__(self, path: Path, clock: Callable[[], int] = epoch_ms) -> None:
        super().__init__(Database(path, SCHEMA), clock)

    def record(self, model: ModelVersion) -> ModelVersion:
        """Enter a version that was just published (state, history and slot are not looked at).

        Idempotent; what is recorded is returned. Raises JournalError when that version is already
        there with other content.
        """
        with self._database.transaction() as connection:
            present = find_model(connection, model.data_type, model.version)
            if present is None:
                self._insert(connection, model)
            elif present.sha256 != model.sha256:
                raise JournalError(
                    f"{self._database.path}: {title(model)} has digest {present.sha256}, and in"
                    f" the journal {model.sha256}: this is the catalog of another journal; move it"
                    " away"
                )
            return get_model(connection, model.data_type, model.version)

    def move(
        self,
        data_type: str,
        version: int,
        state: ModelState,
        *,
        slot: str | None = None,
        reason: str = "",
        at_ms: int | None = None,
    ) -> ModelVersion:
        """Take a version to a state, and return it. Nothing happens when it is there already.

        `at_ms` is when it came there, if that was not just now. `slot` is where it is to serve, by
        default where it last did; it counts for SERVING only. The version that served that slot
        until now is retired in the same transaction. One that serves another slot leaves that and
        comes to this one. Raises IllegalTransition, and NotFound when there is no such version.
        """
        with self._database.transaction() as connection:
            model = get_model(connection, data_type, version)
            if state is not ModelState.SERVING or slot is None:
                slot = model.slot
            if model.state is state and model.slot == slot:
                return model
            at_ms = self._clock() if at_ms is None else at_ms
            if model.state is state:
                reason = reason or f"in slot {slot!r}"
            else:
                check_transition(title(model), model.state, state)
            if state is ModelState.SERVING:
                self._retire_former(connection, replace(model, slot=slot), at_ms)
            self._step(connection, replace(model, slot=slot), Step(state, at_ms, reason))
            return get_model(connection, data_type, version)

    def get(self, data_type: str, version: int) -> ModelVersion:
        """Return a version. Raises NotFound."""
        with self._database.reading() as connection:
            return get_model(connection, data_type, version)

    def versions(self, data_type: str, *, limit: int = -1) -> Sequence[ModelVersion]:
        """Return the versions of a data type, the newest first; all, or at most `limit`."""
        with self._database.reading() as connection:
            where = "data_type = ? ORDER BY version DESC LIMIT ?"
            return models_where(connection, where, data_type, limit)

    def newest(self, data_type: str, name: str) -> ModelVersion | None:
        """Return the version of this name that a policy means, or None when none can serve.

        Of those that are WARM, SERVING or RETIRED it is the one that the journal spoke of last:
        each counts from its own entry, or from the last one that put it on stage. So that is the
        newest one, unless an older one was put back by a roll back that came after the newest.
        """
        with self._database.reading() as connection:
            found = models_where(
                connection,
                "data_type = ? AND name = ? AND state IN ('WARM', 'SERVING', 'RETIRED')"
                " ORDER BY max(version, staged) DESC, version DESC LIMIT 1",
                data_type,
                name,
            )
        return found[0] if found else None

    def serving(self, data_type: str, slot: str = DEFAULT_SLOT) -> ModelVersion | None:
        """Return the version that serves a slot, or served it when the node stopped."""
        models = self.all_serving(data_type)
        return next((model for model in models if model.slot == slot), None)

    def all_serving(self, data_type: str) -> Sequence[ModelVersion]:
        """Return what serves a data type, in the order of the slots' names."""
        with self._database.reading() as connection:
            return serving_models(connection, data_type)

    def put_on_stage(
        self, data_type: str, version: int, *, position: int, slot: str = DEFAULT_SLOT
    ) -> OnStage | Retirement:
        """Note that the entry at `position` wants `version` in a slot; return what should be there.

        Idempotent: an entry before the one that was noted last for this slot changes nothing. A
        retirement before it is over. Other slots stay as they are, even one that `version` is in:
        see `clear_slots`. Raises NotFound when there is no such version.
        """
        with self._database.transaction() as connection:
            get_model(connection, data_type, version)
            retired = retirement_of(connection, data_type)
            if retired is not None and retired.position > position:
                return retired
            connection.execute("DELETE FROM retirements WHERE data_type = ?", (data_type,))
            values = {"data_type": data_type, "slot": slot, "version": version, "at": position}
            connection.execute(
                "INSERT INTO stage (data_type, slot, version, position)"
                " VALUES (:data_type, :slot, :version, :at) ON CONFLICT DO UPDATE"
                " SET version = :version, position = :at WHERE position < :at",
                values,
            )
            connection.execute(
                "UPDATE versions SET staged = max(staged, :at)"
                " WHERE data_type = :data_type AND version = :version",
                values,
            )
            return next(one for one in stage_of(connection, data_type) if one.slot == slot)

    def on_stage(self, data_type: str, slot: str = DEFAULT_SLOT) -> OnStage | None:
        """Return the version that should serve a slot, or None when none should."""
        return next((one for one in self.all_on_stage(data_type) if one.slot == slot), None)

    def all_on_stage(self, data_type: str) -> Sequence[OnStage]:
        """Return what should serve a data type, in the order of the slots' names."""
        with self._database.reading() as connection:
            return stage_of(connection, data_type)

    def clear_slots(
        self, data_type: str, *, keep: Collection[str], position: int, reason: str
    ) -> Sequence[ModelVersion]:
        """Note that the entry at `position` wants nothing in any slot but those in `keep`.

        What serves such a slot is RETIRED for that reason, and returned. A slot that a later entry
        gave a version stays. Idempotent.
        """
        with self._database.transaction() as connection:
            wanted = stage_of(connection, data_type)
            later = {one.slot for one in wanted if one.position > position}
            for slot in {one.slot for one in wanted} - later - set(keep):
                connection.execute(
                    "DELETE FROM stage WHERE data_type = ? AND slot = ?", (data_type, slot)
                )
            serving = serving_models(connection, data_type)
            leaving = [model for model in serving if model.slot not in later | set(keep)]
            for model in leaving:
                self._step(connection, model, Step(ModelState.RETIRED, self._clock(), reason))
            return [get_model(connection, data_type, model.version) for model in leaving]

    def retire(self, data_type: str, *, position: int) -> OnStage | Retirement:
        """Note that the entry at `position` wants nothing on stage; return what should be there.

        All that serves, in whatever slot, is RETIRED in the same transaction. What is retired
        already stays so since then. Idempotent: an entry before the one that was noted last, for
        whatever slot, changes nothing.
        """
        with self._database.transaction() as connection:
            wanted = max(
                stage_of(connection, data_type), key=lambda one: one.position, default=None
            )
            noted = wanted or retirement_of(connection, data_type)
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
            return retirement_of(connection, data_type)

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

        These are what serves, what should, and what is in the green room; of the WARM ones the
        newest of each name, which a policy may come to name, but of `count` names at most, those of
        the newest versions; and of the retired ones, last served first, as many as make it `count`
        in all.
        """
        models = self.versions(data_type)
        kept = {one.version for one in self.all_on_stage(data_type)}
        kept |= {model.version for model in models if model.state in _NEEDED}
        warm: dict[str, int] = {}
        for model in models:
            if model.state is ModelState.WARM:
                warm.setdefault(model.name, model.version)
        kept |= set(list(warm.values())[: max(1, count)])
        retired = [model for model in models if model.state is ModelState.RETIRED]
        retired.sort(key=lambda model: model.serving_since_ms or 0, reverse=True)
        spare = [model.version for model in retired if model.version not in kept]
        return frozenset(kept.union(spare[: max(0, count - len(kept))]))

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def _insert(self, connection: sqlite3.Connection, model: ModelVersion) -> None:
        connection.execute(
            f"INSERT INTO versions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                DEFAULT_SLOT,
                model.signature,
            ),
        )
        self._step(
            connection,
            replace(model, slot=DEFAULT_SLOT),
            Step(ModelState.PUBLISHED, self._clock()),
        )

    def _retire_former(
        self, connection: sqlite3.Connection, successor: ModelVersion, at_ms: int
    ) -> None:
        for former in serving_models(connection, successor.data_type):
            if former.slot == successor.slot:
                reason = f"version {successor.version} took its place"
                self._step(connection, former, Step(ModelState.RETIRED, at_ms, reason))

    def _retire_serving(
        self, connection: sqlite3.Connection, data_type: str, position: int
    ) -> int | None:
        formers = serving_models(connection, data_type)
        reason = f"the model of {data_type!r} was retired (journal position {position})"
        for former in formers:
            self._step(connection, former, Step(ModelState.RETIRED, self._clock(), reason))
        return formers[0].version if formers else None

    def _step(self, connection: sqlite3.Connection, model: ModelVersion, step: Step) -> None:
        key = (model.data_type, model.version)
        connection.execute(
            "UPDATE versions SET state = ?, slot = ? WHERE data_type = ? AND version = ?",
            (step.state, model.slot, *key),
        )
        connection.execute(
            "INSERT INTO steps (data_type, version, state, at_ms, reason) VALUES (?, ?, ?, ?, ?)",
            (*key, step.state, step.at_ms, step.reason),
        )


# Versions whose prepared files are in use, or are being made.
_NEEDED = frozenset({ModelState.LOADING, ModelState.SERVING})
