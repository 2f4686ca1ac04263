"""Metadata, FindCoordinator, ApiVersions: how clients find their way."""

from repertory.streams.devbroker.batch import LEADER_EPOCH
from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.protocol import ApiKey, ErrorCode, Refused
from repertory.streams.devbroker.request import NODE_ID, Node, Request
from repertory.streams.devbroker.versions import SUPPORTED

_OPERATIONS_UNKNOWN = -(1 << 31)  # there are no access rights to tell of


async def metadata(node: Node, request: Request) -> Writer:
    """Tell of topics and their partitions; a missing topic is created, if that is wanted."""
    version = request.version
    names = request.read.nullable_array(request.read.string)
    create = request.read.boolean() if version >= 4 else True
    listed = list(node.topics) if names is None else names
    errors = {name: _ensure(node, name, create=create) for name in listed}
    writer = request.throttled(since=3)
    writer.int32(1).int32(NODE_ID).string(node.host).int32(node.port).string(None)  # one broker
    if version >= 2:
        writer.string(node.cluster_id)
    writer.int32(NODE_ID)  # the controller

    def topic(name: str) -> None:
        partitions: list[Partition] = [] if errors[name] else node.topics.topic(name).partitions
        writer.int16(errors[name]).string(name).boolean(False)
        writer.array(range(len(partitions)), lambda index: _partition(writer, index, version))
        if version >= 8:
            writer.int32(_OPERATIONS_UNKNOWN)

    writer.array(listed, topic)
    return writer.int32(_OPERATIONS_UNKNOWN) if version >= 8 else writer


def _ensure(node: Node, name: str, *, create: bool) -> ErrorCode:
    count = node.settings.default_partitions
    try:
        if name not in node.topics and create and count:
            node.topics.create(name, count, {})
        node.topics.topic(name)
    except Refused as error:
        return error.code
    return ErrorCode.NONE


def _partition(writer: Writer, index: int, version: int) -> None:
    writer.int16(ErrorCode.NONE).int32(index).int32(NODE_ID)
    if version >= 7:
        writer.int32(LEADER_EPOCH)
    writer.array([NODE_ID], writer.int32).array([NODE_ID], writer.int32)  # replicas, in sync
    if version >= 5:
        writer.array((), writer.int32)  # offline replicas


async def find_coordinator(node: Node, request: Request) -> Writer:
    """Name the one broker there is."""
    writer = request.throttled(since=1).int16(ErrorCode.NONE)
    if request.version >= 1:
        writer.string(None)
    return writer.int32(NODE_ID).string(node.host).int32(node.port)


async def api_versions(_node: Node, request: Request) -> Writer:
    """List the versions spoken; asked in a version unknown, in the oldest and with an error."""
    known = request.version <= SUPPORTED[ApiKey.API_VERSIONS].newest
    writer = request.answer().int16(ErrorCode.NONE if known else ErrorCode.UNSUPPORTED_VERSION)
    writer.array(
        SUPPORTED.items(),
        lambda item: writer.int16(item[0]).int16(item[1].oldest).int16(item[1].newest),
    )
    return writer.int32(0) if known and request.version >= 1 else writer
