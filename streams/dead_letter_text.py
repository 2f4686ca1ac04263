"""A dead letter for people. Pure. What a record brings is shown without control characters."""

from collections.abc import Iterator
from typing import Any

import orjson
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from repertory.config import ClusterConfig
from repertory.errors import ConfigError
from repertory.protos.loading import load_message
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.streams.dead_letters import DeadLetter

LONGEST_LINE = 500  # models and pictures are not for people
MOST_LINES = 200
HEX_BYTES = 1024
HEX_WIDTH = 16

Described = tuple[str, list[str]]  # what it is, and the lines of it


def value_lines(letter: DeadLetter, value: bytes, config: ClusterConfig) -> Described:
    """Return what a record's bytes are, and show them: as its message, as JSON, or else in hex."""
    for decode in (_as_message, _as_json):
        found = decode(letter, value, config)
        if found is not None:
            what, text = found
            return what, _shortened(text.splitlines())
    return "bytes that are neither its message nor JSON", _shortened(list(_hex(value)))


def printable(data: str | bytes | None) -> str:
    """Return one line of text for a key or a header: bytes that are no text in hex."""
    if data is None:
        return "(none)"
    if isinstance(data, str):
        return _clip(one_line(data))
    try:
        return _clip(one_line(data.decode()))
    except UnicodeDecodeError:
        return _clip(f"0x{data.hex()}")


def one_line(text: str) -> str:
    """Return a text in one line, without what could steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in text).strip()


def _as_message(letter: DeadLetter, value: bytes, config: ClusterConfig) -> tuple[str, str] | None:
    declared = config.data_types.get(letter.data_type)
    if letter.source is not None and letter.source.topic == config.kafka.models_topic:
        message: Any = ModelDescriptor()
    elif declared is not None and declared.value_format == "protobuf":
        try:
            message = load_message(declared.message)()
        except ConfigError:
            return None
    else:
        return None
    try:
        message.ParseFromString(value)
    except DecodeError:
        return None
    text = text_format.MessageToString(message, print_unknown_fields=True)
    return (f"{message.DESCRIPTOR.name} as text", text) if text else None


def _as_json(_: DeadLetter, value: bytes, __: ClusterConfig) -> tuple[str, str] | None:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return "JSON", orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _hex(value: bytes) -> Iterator[str]:
    for at in range(0, min(len(value), HEX_BYTES), HEX_WIDTH):
        row = value[at : at + HEX_WIDTH]
        shown = "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in row)
        yield f"{at:06x}  {row.hex(' '):<{3 * HEX_WIDTH}} {shown}"
    if len(value) > HEX_BYTES:
        yield f"… and {len(value) - HEX_BYTES:,} bytes more"


def _shortened(lines: list[str]) -> list[str]:
    kept = [_clip(line) for line in lines[:MOST_LINES]]
    return kept if len(lines) <= MOST_LINES else [*kept, f"… and {len(lines) - MOST_LINES:,} lines"]


def _clip(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[:LONGEST_LINE]}… ({len(line):,} characters)"
