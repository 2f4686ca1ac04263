"""The consumer groups of a broker: parked requests and broken connections."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.devbroker.conftest import Clock

from repertory.streams.devbroker.group_messages import Join
from repertory.streams.devbroker.groups import Groups
from repertory.streams.devbroker.journal import MetadataJournal
from repertory.streams.devbroker.offsets import CommittedOffsets
from repertory.streams.devbroker.protocol import ErrorCode, Refused


@pytest.fixture
def groups(tmp_path: Path, clock: Clock) -> Groups:
    """Return no groups yet."""
    offsets = CommittedOffsets(MetadataJournal(tmp_path / "metadata.jsonl"))
    return Groups(offsets, initial_delay=0.2, min_session_timeout=6.0, clock=clock)


def join(session_timeout: float = 6.0) -> Join:
    return Join(
        client_id="c",
        host="h",
        session_timeout=session_timeout,
        rebalance_timeout=30.0,
        protocol_type="consumer",
        protocols=(("range", b""),),
        knows_id_first=False,
    )


async def patient(future: "asyncio.Future[Any]") -> Any:
    """Wait as a healthy connection does."""
    return await future


async def broken(future: "asyncio.Future[Any]") -> Any:
    """Wait as a connection does whose client goes away."""
    raise ConnectionError


async def test_a_join_is_answered_when_time_has_passed(groups: Groups, clock: Clock) -> None:
    task = asyncio.create_task(groups.join("g", join(), patient))
    await asyncio.sleep(0)
    assert groups.ids() == ["g"]
    clock.now += 1
    groups.tick()
    assert (await task).error is ErrorCode.NONE


async def test_one_that_goes_away_while_joining_is_no_member(groups: Groups) -> None:
    with pytest.raises(ConnectionError):
        await groups.join("g", join(), broken)
    group = groups.get("g")
    assert group is not None
    assert not group.members


async def test_a_group_without_members_is_forgotten(groups: Groups) -> None:
    with pytest.raises(ConnectionError):
        await groups.join("g", join(), broken)
    groups.tick()
    assert groups.get("g") is None


@pytest.mark.parametrize("seconds", [0.1, 5.9, 1801.0])
async def test_an_impossible_session_is_refused(groups: Groups, seconds: float) -> None:
    with pytest.raises(Refused, match=r"session\.timeout\.ms"):
        await groups.join("g", join(seconds), patient)


async def test_a_group_needs_a_name(groups: Groups) -> None:
    with pytest.raises(Refused) as caught:
        await groups.join("", join(), patient)
    assert caught.value.code is ErrorCode.INVALID_GROUP_ID
