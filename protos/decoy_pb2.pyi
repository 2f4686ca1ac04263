from repertory.protos import door_pb2 as _door_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArchivedBatch(_message.Message):
    __slots__ = ("data_type", "archived_us", "encoding", "count", "payload", "answer")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_US_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    archived_us: int
    encoding: _door_pb2.Envelope.Encoding
    count: int
    payload: bytes
    answer: bytes
    def __init__(self, data_type: _Optional[str] = ..., archived_us: _Optional[int] = ..., encoding: _Optional[_Union[_door_pb2.Envelope.Encoding, str]] = ..., count: _Optional[int] = ..., payload: _Optional[bytes] = ..., answer: _Optional[bytes] = ...) -> None: ...
