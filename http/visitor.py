"""Who a request is from, and what that one may do, known wherever the request is worked on."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from repertory.config import Role
from repertory.errors import Forbidden
from repertory.http.audit import Audit
from repertory.http.limits import RateLimit

# What an endpoint asks for; `open` is for everybody.
Needed = Role | Literal["open"]
OPEN: Literal["open"] = "open"
READ: Role = "read"
SCORE: Role = "score"
PUBLISH: Role = "publish"
ADMIN: Role = "admin"
# Who needs no token, because nobody does.
ANONYMOUS = "anonymous"
# Questions that change something; the keeper's answers say what became of them.
CHANGES = frozenset({"publish", "retire", "rollback", "policy", "policy_rollback"})


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do, for which data types; None: for all. Whoever may do anything may read."""

    roles: frozenset[Role]
    data_types: frozenset[str] | None = None

    def has(self, role: Needed) -> bool:
        """Return whether it is enough for an endpoint."""
        if role == READ:
            return bool(self.roles)
        return role == OPEN or role in self.roles or ADMIN in self.roles

    def covers(self, data_type: str | None) -> bool:
        """Return whether it is for a data type; None stands for all."""
        return self.data_types is None or data_type in self.data_types


ALL = Grant(frozenset({ADMIN}))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request is from, and whence it came. `key` tells visitors apart, `what` is the request."""

    who: str
    key: str
    address: str
    what: str
    grant: Grant
    audit: Audit
    told: RateLimit  # how often refusals are told of
    stands: Callable[[], Awaitable[bool]]  # whether this one may still do the same

    def demand(self, role: Needed) -> None:
        """Raise Forbidden, and say so in the audit log, unless this one has the role."""
        if not self.grant.has(role):
            mine = ", ".join(sorted(self.grant.roles)) or "none"
            self.refuse(f"this needs the role {role}; {self.who} has {mine}")

    def demand_data_type(self, data_type: str | None) -> None:
        """Raise Forbidden unless this one may be told of a data type; None: of all of them."""
        if not self.grant.covers(data_type):
            mine = ", ".join(sorted(self.grant.data_types or ())) or "none"
            wanted = "all data types" if data_type is None else f"data type {data_type!r}"
            self.refuse(f"this needs a role for {wanted}; {self.who} has one for {mine}")

    def refuse(self, why: str) -> None:
        """Raise Forbidden, and say so in the audit log."""
        self.tell_refused(why)
        raise Forbidden(why)

    def tell_refused(self, why: str) -> None:
        """Say in the audit log that something was refused, unless that was said too often."""
        if self.told.take(self.key):
            self.note("access", "refused", reason=why)

    def note(self, action: str, outcome: str, **about: Any) -> None:
        """Say in the audit log what became of what this one wanted."""
        where = {"from": self.address, "request": self.what}
        self.audit.note(action, outcome, who=self.who, **where, **about)

    async def change(
        self, subject: str, data: Mapping[str, Any], asking: Awaitable[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the answer to a question that changes something, and say in the audit log which."""
        about = {
            "dataType": data.get("data_type"),
            "name": data.get("name"),
            "version": data.get("version"),
            "settings": data.get("settings"),
            "origin": data.get("origin"),  # as the journal has it
        }
        try:
            answer = await asking
        except BaseException as error:  # also of a client that left: it may be done all the same
            why = str(error) or "the client left before there was an answer"
            self.note(subject, "failed", **about, reason=why)
            raise
        known = ("dataType", "name", "version", "sha256", "reason")
        about |= {key: answer[key] for key in known if answer.get(key)}
        self.note(subject, str(answer.get("state", "done")).lower(), **about)
        return answer


# None: it is not a request that asks, but the face itself.
_VISITOR: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def visitor_now() -> Visitor | None:
    """Return whose request is worked on; None if it is not a request."""
    return _VISITOR.get()


def new_origin() -> str:
    """Return what the journal is to keep of a change: a name of its own, and who wants it."""
    visitor = _VISITOR.get()
    known = "" if visitor is None or visitor.who == ANONYMOUS else f" {visitor.who}"
    return f"http/{uuid.uuid4()}{known}"


def demand_data_type(data_type: str | None) -> None:
    """Raise Forbidden unless whoever asks may be told of a data type; None: of all of them."""
    if (visitor := _VISITOR.get()) is not None:
        visitor.demand_data_type(data_type)


def visit(visitor: Visitor) -> None:
    """Have all that the current task does from now on be this visitor's."""
    _VISITOR.set(visitor)


@contextlib.contextmanager
def visiting(visitor: Visitor) -> Iterator[None]:
    """Have what is done within, and the tasks that it starts, be this visitor's."""
    token = _VISITOR.set(visitor)
    try:
        yield
    finally:
        _VISITOR.reset(token)
