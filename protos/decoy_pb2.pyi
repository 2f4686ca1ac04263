from repertory.protos import door_pb2 as _door_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
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

class ArchivedAnswer(_message.Message):
    __slots__ = ("batch", "row", "rows", "archived_us", "encoding", "policy", "policy_version", "asked", "slot", "model_name", "model_version", "model_sha256", "value", "label", "labels", "probabilities", "error_code", "error_message")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_US_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    batch: str
    row: int
    rows: int
    archived_us: int
    encoding: str
    policy: str
    policy_version: int
    asked: _containers.RepeatedScalarFieldContainer[str]
    slot: str
    model_name: str
    model_version: int
    model_sha256: str
    value: float
    label: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    error_code: str
    error_message: str
    def __init__(self, batch: _Optional[str] = ..., row: _Optional[int] = ..., rows: _Optional[int] = ..., archived_us: _Optional[int] = ..., encoding: _Optional[str] = ..., policy: _Optional[str] = ..., policy_version: _Optional[int] = ..., asked: _Optional[_Iterable[str]] = ..., slot: _Optional[str] = ..., model_name: _Optional[str] = ..., model_version: _Optional[int] = ..., model_sha256: _Optional[str] = ..., value: _Optional[float] = ..., label: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., probabilities: _Optional[_Iterable[float]] = ..., error_code: _Optional[str] = ..., error_message: _Optional[str] = ...) -> None: ...
