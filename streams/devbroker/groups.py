"""All consumer groups: runs the state machine of each, and parks the requests that must wait."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from repertory.streams.devbroker.group import Group
from repertory.streams.devbroker.group_messages import Answers, Identity, Join, Joined, Synced
from repertory.streams.devbroker.offsets import CommittedOffsets
from repertory.streams.devbroker.protocol import ErrorCode, Refused

_MAX_SESSION_TIMEOUT = 1800.0  # seconds, as in Apache Kafka
Wait = Callable[["asyncio.Future[Any]"], Awaitable[Any]]
"""Waits for a future on behalf of a connection; raises ConnectionError when that breaks."""


class Groups:
    """The groups by id. Membership lives in memory; committed offsets are kept elsewhere."""

    def __init__(
        self,
        offsets: CommittedOffsets,
        *,
        initial_delay: float,
        min_session_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offsets = offsets
        self._initial_delay = initial_delay
        self._min_session_timeout = min_session_timeout
        self._clock = clock
        self._groups: dict[str, Group] = {}
        self._tickets = itertools.count()
        self._parked: dict[int, asyncio.Future[Any]] = {}

    def get(self, group_id: str) -> Group | None:
        """Return a group that has, or recently had, members."""
        return self._groups.get(group_id)

    def ids(self) -> list[str]:
        """Return the ids of all groups with members or committed offsets."""
        active = [key for key, group in self._groups.items() if group.members]
        return sorted({*active, *self._offsets.groups()})

    async def join(self, group_id: str, request: Join, wait: Wait) -> Joined:
        """Join a group; returns when all members have. Raises Refused, ConnectionError."""
        if not group_id:
            raise Refused(ErrorCode.INVALID_GROUP_ID, "the group has no name")
        if not self._min_session_timeout <= request.session_timeout <= _MAX_SESSION_TIMEOUT:
            raise Refused(
                ErrorCode.INVALID_SESSION_TIMEOUT,
                f"session.timeout.ms {request.session_timeout * 1000:.0f}: "
                f"{self._min_session_timeout * 1000:.0f} to {_MAX_SESSION_TIMEOUT * 1000:.0f} "
                "are allowed",
            )
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = Group(group_id, initial_delay=self._initial_delay)
        ticket, future = self._park()
        self._deliver(group.join(request, ticket, self._clock()))
        joined: Joined = await self._answer(group, ticket, future, wait=wait)
        return joined

    async def sync(
        self, group_id: str, who: Identity, plan: Mapping[str, bytes], *, wait: Wait
    ) -> Synced:
        """Get an assignment; returns when the leader has sent its plan. Raises as `join`."""
        group = self._known(group_id)
        ticket, future = self._park()
        self._deliver(group.sync(who, plan, ticket, now=self._clock()))
        synced: Synced = await self._answer(group, ticket, future, wait=wait)
        return synced

    def heartbeat(self, group_id: str, who: Identity) -> None:
        """Note that a member is alive. Raises Refused."""
        self._known(group_id).heartbeat(who, self._clock())

    def leave(self, group_id: str, member_id: str, instance_id: str | None) -> None:
        """Let a member go. Raises Refused."""
        self._deliver(self._known(group_id).leave(member_id, instance_id, self._clock()))

    def check_commit(self, group_id: str, who: Identity, *, transactional: bool = False) -> None:
        """Raise Refused unless whoever asks may commit offsets of the group."""
        group = self._groups.get(group_id)
        if group is not None:
            group.check_commit(who, self._clock(), transactional=transactional)
        elif who.generation >= 0:
            self._known(group_id)

    def delete(self, group_id: str) -> None:
        """Forget a group without members. Raises Refused."""
        group = self._groups.get(group_id)
        if group is not None and group.members:
            raise Refused(
                ErrorCode.NON_EMPTY_GROUP,
                f"group {group_id!r} has {len(group.members)} members",
            )
        if group is None and group_id not in self._offsets.groups():
            raise Refused(ErrorCode.GROUP_ID_NOT_FOUND, f"no group {group_id!r}")
        self._groups.pop(group_id, None)
        self._offsets.delete_group(group_id)

    def tick(self) -> None:
        """Let time pass."""
        now = self._clock()
        for group in list(self._groups.values()):
            self._deliver(group.tick(now))
            if group.idle:
                del self._groups[group.group_id]

    def _known(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            raise Refused(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group_id!r} has no members")
        return group

    def _park(self) -> tuple[int, "asyncio.Future[Any]"]:
        ticket = next(self._tickets)
        future = self._parked[ticket] = asyncio.get_running_loop().create_future()
        return ticket, future

    def _deliver(self, answers: Answers) -> None:
        for ticket, answer in answers:
            future = self._parked.pop(ticket, None)
            if future is not None and not future.done():
                future.set_result(answer)

    async def _answer(
        self, group: Group, ticket: int, future: "asyncio.Future[Any]", *, wait: Wait
    ) -> Any:
        try:
            return await wait(future)
        finally:
            if self._parked.pop(ticket, None) is not None:  # broken off without an answer
                self._deliver(group.abandon(ticket, self._clock()))
