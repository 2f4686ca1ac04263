"""Messages of published protocols, in a descriptor pool that is ours alone.

Protobuf refuses a name in its default pool that another file has defined there already. A program
with tritonclient or TensorFlow Serving's stubs in it has `inference.ModelInferRequest` or
`tensorflow.TensorProto` there, so that ours live elsewhere. `make protos` writes what they are to
`private/descriptors.binpb`, and stubs for the type checker beside each `.proto`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_DESCRIPTORS = Path(__file__).with_name("private") / "descriptors.binpb"


@cache
def private_pool() -> DescriptorPool:
    """Return the one pool of this process with the messages of `protos/private`."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return pool


def file_in_pool(name: str) -> FileDescriptor:
    """Return a file of `protos/private`, by its name there. Raises KeyError."""
    found: FileDescriptor = private_pool().FindFileByName(f"repertory/protos/private/{name}")
    return found


def messages_in_pool(name: str) -> Mapping[str, type[Message]]:
    """Return the message classes of such a file, by name. Raises KeyError."""
    messages = file_in_pool(name).message_types_by_name
    return {each: GetMessageClass(descriptor) for each, descriptor in messages.items()}


def enums_in_pool(name: str) -> Mapping[str, Any]:
    """Return the enums of such a file, and their values, by name. Raises KeyError."""
    enums = file_in_pool(name).enum_types_by_name.values()
    values = {each.name: each.number for enum in enums for each in enum.values}
    return values | {each.name: EnumTypeWrapper(each) for each in enums}
