"""The history of a data type's policies: which one decides, and what became of the others."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from repertory.errors import JournalError, NotFound
from repertory.journal.catalog_tables import NO_VERSION
from repertory.journal.database import Database
from repertory.journal.lifecycle import PolicyState, check_policy_transition
from repertory.journal.versions import PolicyVersion

_COLUMNS = (
    "data_type, version, settings, description, published_ms, origin, state, reason, decided_ms"
)


class PolicyHistory:
    """The part of the catalog that is about policies.

    A removal, a policy version without settings, is a version like any other; while it is the one
    in force, there is no policy.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def record_policy(self, policy: PolicyVersion) -> PolicyVersion:
        """Enter a version that was just published (state, reason and decided_ms are not looked at).

        Idempotent; what is recorded is returned. Raises JournalError when that version is already
        there with other settings.
        """
        with self._database.transaction() as connection:
            present = _find(connection, policy.data_type, policy.version)
            if present is None:
                _insert(connection, policy)
            elif present.settings != policy.settings:
                raise JournalError(
                    f"{self._database.path}: {_title(policy)} has other settings than in the"
                    " journal: this is the catalog of another journal; move it away"
                )
            return _get(connection, policy.data_type, policy.version)

    def decide_policy(
        self, data_type: str, version: int, state: PolicyState, *, reason: str = ""
    ) -> PolicyVersion:
        """Take a version to a state, and return it. Nothing happens when it is there already.

        The one in force until now is REPLACED in the same transaction when a later one goes to
        IN_FORCE. An earlier one replaces nothing: it is REPLACED itself, and the one in force is
        returned. Raises IllegalTransition, and NotFound when there is no such version.
        """
        with self._database.transaction() as connection:
            policy = _get(connection, data_type, version)
            if policy.state is state:
                return policy
            if state is PolicyState.IN_FORCE:
                former = _in_force(connection, data_type)
                if former is not None and former.version > version:
                    if policy.state is PolicyState.PUBLISHED:
                        why = f"policy {former.version} was in force already"
                        self._decide(connection, policy, PolicyState.REPLACED, why)
                    return former
                check_policy_transition(_title(policy), policy.state, state)
                if former is not None:
                    why = f"policy {version} took its place"
                    self._decide(connection, former, PolicyState.REPLACED, why)
            self._decide(connection, policy, state, reason)
            return _get(connection, data_type, version)

    def policy_in_force(self, data_type: str) -> PolicyVersion | None:
        """Return the policy that decides; None when there is none, or it was removed."""
        with self._database.reading() as connection:
            policy = _in_force(connection, data_type)
        return None if policy is None or not policy.settings else policy

    def get_policy(self, data_type: str, version: int) -> PolicyVersion:
        """Return a version. Raises NotFound."""
        with self._database.reading() as connection:
            return _get(connection, data_type, version)

    def policies(self, data_type: str) -> Sequence[PolicyVersion]:
        """Return the versions of a data type, the newest first."""
        with self._database.reading() as connection:
            return _where(connection, "data_type = ? ORDER BY version DESC", data_type)

    def _decide(
        self,
        connection: sqlite3.Connection,
        policy: PolicyVersion,
        state: PolicyState,
        reason: str,
    ) -> None:
        check_policy_transition(_title(policy), policy.state, state)
        connection.execute(
            "UPDATE policies SET state = ?, reason = ?, decided_ms = ?"
            " WHERE data_type = ? AND version = ?",
            (state, reason, self._clock(), policy.data_type, policy.version),
        )


def _insert(connection: sqlite3.Connection, policy: PolicyVersion) -> None:
    connection.execute(
        f"INSERT INTO policies ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, '', NULL)",
        (
            policy.data_type,
            policy.version,
            policy.settings,
            policy.description,
            policy.published_ms,
            policy.origin,
            PolicyState.PUBLISHED,
        ),
    )


def _title(policy: PolicyVersion) -> str:
    return f"policy {policy.version} of {policy.data_type!r}"


def _get(connection: sqlite3.Connection, data_type: str, version: int) -> PolicyVersion:
    policy = _find(connection, data_type, version)
    if policy is None:
        raise NotFound(f"there is no policy version {version} of {data_type!r}")
    return policy


def _find(connection: sqlite3.Connection, data_type: str, version: int) -> PolicyVersion | None:
    if not 0 <= version < NO_VERSION:
        return None
    found = _where(connection, "data_type = ? AND version = ?", data_type, version)
    return found[0] if found else None


def _in_force(connection: sqlite3.Connection, data_type: str) -> PolicyVersion | None:
    found = _where(connection, "data_type = ? AND state = ?", data_type, PolicyState.IN_FORCE)
    return found[0] if found else None


def _where(connection: sqlite3.Connection, where: str, *parameters: object) -> list[PolicyVersion]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM policies WHERE {where}", parameters)
    return [_policy(*row) for row in rows]


def _policy(*row: Any) -> PolicyVersion:
    *fields, state, reason, decided_ms = row
    return PolicyVersion(*(*fields, PolicyState(state), reason, decided_ms))
