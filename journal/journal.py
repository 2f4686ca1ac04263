"""The journal: the ordered log of model updates, from which every model on stage can be rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from repertory.errors import JournalError


@dataclass(frozen=True, slots=True)
class Entry:
    """One model update.

    `position` orders all entries of a journal; the position of a descriptor is its model version.
    Exactly one of `descriptor` (a serialised ModelDescriptor, not yet checked in any way),
    `rollback_to` (the version of an earlier entry of `data_type`, to be served again), `retires`
    (from here on no model of `data_type` is on stage, until a later entry puts one there) and
    `policy` (a serialised Policy, not yet checked; its position is the policy's version) is set.
    `origin` is whence it came: what was said when it was appended, or else its place on a topic.
    """

    position: int
    data_type: str
    published_ms: int
    descriptor: bytes | None = None
    rollback_to: int | None = None
    retires: bool = False
    policy: bytes | None = None
    origin: str | None = None


class Journal(Protocol):
    """An append-only log of model updates. Calls block; an instance is used by one thread.

    An entry is durable when `append`, `roll_back` or `retire` returns. Positions start at 1, rise, and may
    have gaps.
    """

    def append(self, data_type: str, descriptor: bytes, *, origin: str | None = None) -> Entry:
        """Append a descriptor and return its entry.

        `origin` (such as `models/0/17`, a topic's partition and offset) makes this idempotent: a
        second append of one origin returns the first one's entry. Raises JournalError.
        """

    def roll_back(self, data_type: str, version: int) -> Entry:
        """Append "serve `version` of `data_type` again". Raises JournalError."""

    def retire(self, data_type: str, *, origin: str | None = None) -> Entry:
        """Append "no model of `data_type` is to serve". `origin` is as in `append`.

        Nothing is removed: each version can be rolled back to. Raises JournalError.
        """

    def set_policy(self, data_type: str, policy: bytes, *, origin: str | None = None) -> Entry:
        """Append a serialised Policy and return its entry. `origin` is as in `append`.

        Raises JournalError.
        """

    def read(self, after: int, *, limit: int = 100, timeout: float = 0.0) -> Sequence[Entry]:
        """Return up to `limit` entries whose position is over `after`, in order.

        Waits up to `timeout` seconds for the first one; empty when there is none. Raises
        JournalError.
        """

    def get(self, position: int) -> Entry | None:
        """Return the entry at `position`, or None when there is none."""

    def trouble(self) -> str | None:
        """Return what keeps the journal from its promises, and how to mend it; None if all is well.

        May ask brokers, and then takes seconds.
        """

    def close(self) -> None:
        """Free what is held. Idempotent."""


def check_rollback(journal: Journal, data_type: str, version: int) -> None:
    """Raise JournalError unless `version` is the position of a descriptor of `data_type`."""
    entry = journal.get(version)
    if entry is None:
        raise JournalError(f"there is no model version {version} to go back to")
    if entry.data_type != data_type:
        raise JournalError(f"model version {version} is of {entry.data_type!r}, not {data_type!r}")
    if entry.rollback_to is not None:
        raise JournalError(
            f"entry {version} is itself a roll back; go back to version {entry.rollback_to}"
        )
    if entry.retires:
        raise JournalError(f"entry {version} retired {data_type!r}: it is no model to go back to")
    if entry.policy is not None:
        raise JournalError(f"entry {version} is a policy, no model to go back to")
