"""DescribeConfigs and IncrementalAlterConfigs: the settings of topics."""

from enum import IntEnum
from typing import NamedTuple

from repertory.streams.devbroker.codec import Writer
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.request import NODE_ID, Node, Request
from repertory.streams.devbroker.topic_config import TopicConfig

_TOPIC, _BROKER = 2, 4  # kinds of resources
_SOURCE_TOPIC, _SOURCE_STATIC, _SOURCE_DEFAULT = 1, 4, 5
_TYPE_STRING = 2


class _Operation(IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class _Change(NamedTuple):
    name: str
    operation: int
    value: str | None


class _Described(NamedTuple):
    name: str
    value: str
    source: int


async def describe_configs(node: Node, request: Request) -> Writer:
    """Tell the settings of topics, and a few of the broker."""
    read = request.read
    wanted = read.array(lambda: (read.int8(), read.string(), read.nullable_array(read.string)))
    writer = request.throttled(since=0)

    def setting(item: _Described) -> None:
        writer.string(item.name).string(item.value)
        writer.boolean(item.source == _SOURCE_STATIC)  # read-only
        if request.version == 0:
            writer.boolean(item.source == _SOURCE_DEFAULT)
        else:
            writer.int8(item.source)
        writer.boolean(False)  # nothing here is secret
        if request.version >= 1:
            writer.array((), writer.int32)  # synonyms
        if request.version >= 3:
            writer.int8(_TYPE_STRING).string(None)

    def resource(kind: int, name: str, keys: list[str] | None) -> None:
        error, message, items = ErrorCode.NONE, None, []
        try:
            items = _describe(node, kind, name)
        except Refused as refused:
            error, message = refused.code, str(refused)
        writer.int16(error).string(message).int8(kind).string(name)
        writer.array([item for item in items if keys is None or item.name in keys], setting)

    return writer.array(wanted, lambda each: resource(*each))


def _describe(node: Node, kind: int, name: str) -> list[_Described]:
    if kind == _TOPIC:
        config = node.topics.topic(name).config
        return [
            _Described(key, value, _SOURCE_TOPIC if key in config.own else _SOURCE_DEFAULT)
            for key, value in config.all().items()
        ]
    if kind == _BROKER:
        settings = {
            "auto.create.topics.enable": str(node.settings.default_partitions > 0).lower(),
            "broker.id": str(NODE_ID),
            "max.connections": str(node.settings.max_connections),
            "num.partitions": str(max(node.settings.default_partitions, 1)),
            "socket.request.max.bytes": str(node.settings.max_request_bytes),
        }
        return [_Described(key, value, _SOURCE_STATIC) for key, value in settings.items()]
    raise Refused(ErrorCode.INVALID_REQUEST, f"resources of kind {kind} have no settings here")


async def alter_configs(node: Node, request: Request) -> Writer:
    """Change settings of topics; of each topic all or none."""
    read = request.read

    def change() -> _Change:
        return _Change(read.string(), read.int8(), read.nullable_string())

    wanted = read.array(lambda: (read.int8(), read.string(), read.array(change)))
    check_only = read.boolean()
    writer = request.throttled(since=0)

    def resource(kind: int, name: str, changes: list[_Change]) -> None:
        error, message = ErrorCode.NONE, None
        try:
            _alter(node, kind, name, changes=changes, check_only=check_only)
        except Refused as refused:
            error, message = refused.code, str(refused)
        writer.int16(error).string(message).int8(kind).string(name)

    return writer.array(wanted, lambda each: resource(*each))


def _alter(node: Node, kind: int, name: str, *, changes: list[_Change], check_only: bool) -> None:
    if kind != _TOPIC:
        raise Refused(ErrorCode.INVALID_REQUEST, "only the settings of topics can be changed here")
    config = node.topics.topic(name).config
    own = dict(config.own)
    for change in changes:
        if change.operation == _Operation.DELETE:
            own.pop(change.name, None)
        elif change.operation == _Operation.SET:
            own[change.name] = change.value or ""
        elif change.name == "cleanup.policy":
            own[change.name] = _edited(config[change.name], change)
        else:
            raise Refused(ErrorCode.INVALID_CONFIG, f"{change.name} is no list")
    if check_only:
        TopicConfig(own)
    else:
        node.topics.configure(name, own)


def _edited(present: str, change: _Change) -> str:
    items = [item for item in present.split(",") if item != change.value]
    if change.operation == _Operation.APPEND:
        items.append(change.value or "")
    return ",".join(items)
