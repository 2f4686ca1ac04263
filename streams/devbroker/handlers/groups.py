"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and the requests that look at groups."""

from collections.abc import Callable

from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.group import Member
from repertory.streams.devbroker.group_messages import (
    Identity,
    Join,
    Joined,
    JoinedMember,
    Synced,
)
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import Node, Request

_OPERATIONS_UNKNOWN = -(1 << 31)
_DEAD = "Dead"  # what Kafka calls the state of a group that does not exist


async def join_group(node: Node, request: Request) -> Writer:
    """Make the client a member; answered when all members have joined."""
    read, version = request.read, request.version
    group_id = read.string()
    session_timeout = read.int32() / 1000
    rebalance_timeout = read.int32() / 1000 if version >= 1 else session_timeout
    wanted = Join(
        session_timeout=session_timeout,
        rebalance_timeout=rebalance_timeout,
        member_id=read.string(),
        instance_id=read.nullable_string() if version >= 5 else None,
        client_id=request.client_id,
        host=request.peer.host,
        protocol_type=read.string(),
        protocols=tuple(read.array(lambda: (read.string(), bytes(read.blob())))),
        knows_id_first=version >= 4,
    )
    try:
        joined = await node.groups.join(group_id, wanted, request.peer.wait)
    except Refused as error:
        joined = Joined(error=error.code, member_id=wanted.member_id)
    writer = request.throttled(since=2).int16(joined.error).int32(joined.generation)
    writer.string(joined.protocol).string(joined.leader).string(joined.member_id)

    def member(each: JoinedMember) -> None:
        writer.string(each.member_id)
        if version >= 5:
            writer.string(each.instance_id)
        writer.blob(each.metadata)

    return writer.array(joined.members, member)


def _identity(request: Request, *, static_since: int) -> Identity:
    read = request.read
    return Identity(
        generation=read.int32(),
        member_id=read.string(),
        instance_id=read.nullable_string() if request.version >= static_since else None,
    )


async def sync_group(node: Node, request: Request) -> Writer:
    """Give a member its assignment; answered when the leader has sent its plan."""
    read = request.read
    group_id = read.string()
    who = _identity(request, static_since=3)
    plan = dict(read.array(lambda: (read.string(), bytes(read.blob()))))
    try:
        synced = await node.groups.sync(group_id, who, plan, wait=request.peer.wait)
    except Refused as error:
        synced = Synced(error=error.code)
    return request.throttled(since=1).int16(synced.error).blob(synced.assignment)


def _error_of(action: Callable[[], object]) -> ErrorCode:
    try:
        action()
    except Refused as error:
        return error.code
    return ErrorCode.NONE


async def heartbeat(node: Node, request: Request) -> Writer:
    """Note that a member is alive."""
    group_id = request.read.string()
    who = _identity(request, static_since=3)
    error = _error_of(lambda: node.groups.heartbeat(group_id, who))
    return request.throttled(since=1).int16(error)


async def leave_group(node: Node, request: Request) -> Writer:
    """Let members go."""
    read, version = request.read, request.version
    group_id = read.string()
    if version < 3:
        member_id = read.string()
        error = _error_of(lambda: node.groups.leave(group_id, member_id, None))
        return request.throttled(since=1).int16(error)
    leaving = read.array(lambda: (read.string(), read.nullable_string()))
    writer = request.throttled(since=1).int16(ErrorCode.NONE)

    def leave(member_id: str, instance_id: str | None) -> None:
        error = _error_of(lambda: node.groups.leave(group_id, member_id, instance_id))
        writer.string(member_id).string(instance_id).int16(error)

    return writer.array(leaving, lambda each: leave(*each))


async def describe_groups(node: Node, request: Request) -> Writer:
    """Tell of groups and their members."""
    writer = request.throttled(since=1)

    def member(each: Member, protocol: str) -> None:
        writer.string(each.member_id)
        if request.version >= 4:
            writer.string(each.join.instance_id)
        writer.string(each.join.client_id).string(f"/{each.join.host}")
        writer.blob(each.metadata(protocol)).blob(each.assignment)

    def describe(group_id: str) -> None:
        group = node.groups.get(group_id)
        writer.int16(ErrorCode.NONE).string(group_id)
        if group is None:
            empty = group_id in node.offsets.groups()
            writer.string("Empty" if empty else _DEAD).string("").string("")
            writer.array((), writer.string)
        else:
            writer.string(group.state).string(group.protocol_type).string(group.protocol)
            writer.array(group.members.values(), lambda each: member(each, group.protocol))
        if request.version >= 3:
            writer.int32(_OPERATIONS_UNKNOWN)

    return writer.array(request.read.array(request.read.string), describe)


async def list_groups(node: Node, request: Request) -> Writer:
    """List the groups that have members or committed offsets."""
    writer = request.throttled(since=1).int16(ErrorCode.NONE)

    def listed(group_id: str) -> None:
        group = node.groups.get(group_id)
        writer.string(group_id).string(group.protocol_type if group else "consumer")

    return writer.array(node.groups.ids(), listed)


async def delete_groups(node: Node, request: Request) -> Writer:
    """Forget groups without members, with their offsets."""
    writer = request.throttled(since=0)

    def delete(group_id: str) -> None:
        writer.string(group_id).int16(_error_of(lambda: node.groups.delete(group_id)))

    return writer.array(request.read.array(request.read.string), delete)
