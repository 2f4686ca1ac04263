"""What a model file looks like, told from its bytes alone; nothing is parsed, nothing is run."""

import re

from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

# How far into a text its root element, or the keys of a PFA document, must lie.
_HEAD = 64 * 1024

_PMML_ROOT = re.compile(rb"<\s*(?:[A-Za-z_][\w.-]*:)?PMML[\s>/]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

# Field numbers and wire types of the messages that models are (0: varint, 2: bytes).
_VARINT, _BYTES = 0, 2
_GRAPH_DEF = {(1, _BYTES), (2, _BYTES), (3, _VARINT), (4, _BYTES), (5, _BYTES)}
_ONNX_GRAPH = (7, _BYTES)
_MOST_FIELDS = 1000


def guess_model_type(content: bytes) -> ModelDescriptor.ModelType | None:
    """Return the type that a model's content looks like, or None. Never raises.

    For uploads that do not say what they are. Looking like a type promises nothing more: the green
    room decides.
    """
    if content.startswith((b"PK\x03\x04", b"\x1f\x8b")) or content[257:262] == b"ustar":
        return ModelDescriptor.TENSORFLOWSAVED
    head = content[:_HEAD]
    if head.startswith(_UTF16):
        head = head.decode("utf-16", "ignore").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return ModelDescriptor.PMML if _PMML_ROOT.search(text) else None
    if text.startswith(b"{"):
        pfa = all(f'"{key}"'.encode() in text for key in ("input", "output", "action"))
        return ModelDescriptor.PFA if pfa else None
    fields = _fields(content)
    if not fields:
        return None
    if _ONNX_GRAPH in fields and (1, _VARINT) in fields:
        return ModelDescriptor.ONNX
    return ModelDescriptor.TENSORFLOW if (1, _BYTES) in fields and fields <= _GRAPH_DEF else None


def _fields(content: bytes) -> set[tuple[int, int]]:
    """Return field numbers and wire types at the top of a protobuf message; empty if it is none.

    A GraphDef repeats its first field for each node; after `_MOST_FIELDS` the rest is not looked at.
    """
    seen: set[tuple[int, int]] = set()
    place = 0
    try:
        for _ in range(_MOST_FIELDS):
            if place == len(content):
                break
            key, place = _varint(content, place)
            number, wire = key >> 3, key & 7
            seen.add((number, wire))
            length, place = _varint(content, place)
            if wire == _BYTES:
                place += length
            elif wire != _VARINT:
                return set()
            if place > len(content):
                return set()
    except (IndexError, ValueError):
        return set()
    return seen


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a varint of more than ten bytes")
