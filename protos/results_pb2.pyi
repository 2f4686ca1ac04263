from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    sha256: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("topic", "partition", "offset", "timestamp_ms")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., timestamp_ms: _Optional[int] = ...) -> None: ...

class ClassProbability(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("policy", "policy_version", "slot", "fallback", "asked", "arrived", "late", "failed", "slack_us", "answers")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SLACK_US_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    policy_version: int
    slot: str
    fallback: bool
    asked: _containers.RepeatedScalarFieldContainer[str]
    arrived: _containers.RepeatedScalarFieldContainer[str]
    late: _containers.RepeatedScalarFieldContainer[str]
    failed: _containers.RepeatedScalarFieldContainer[str]
    slack_us: int
    answers: _containers.RepeatedCompositeFieldContainer[SlotAnswer]
    def __init__(self, policy: _Optional[str] = ..., policy_version: _Optional[int] = ..., slot: _Optional[str] = ..., fallback: _Optional[bool] = ..., asked: _Optional[_Iterable[str]] = ..., arrived: _Optional[_Iterable[str]] = ..., late: _Optional[_Iterable[str]] = ..., failed: _Optional[_Iterable[str]] = ..., slack_us: _Optional[int] = ..., answers: _Optional[_Iterable[_Union[SlotAnswer, _Mapping]]] = ...) -> None: ...

class SlotAnswer(_message.Message):
    __slots__ = ("slot", "model", "value", "label", "error", "probabilities")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    slot: str
    model: ModelRef
    value: float
    label: str
    error: str
    probabilities: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    def __init__(self, slot: _Optional[str] = ..., model: _Optional[_Union[ModelRef, _Mapping]] = ..., value: _Optional[float] = ..., label: _Optional[str] = ..., error: _Optional[str] = ..., probabilities: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ...) -> None: ...

class ScoredRecord(_message.Message):
    __slots__ = ("data_type", "model", "value", "label", "probabilities", "source", "received_ms", "scored_ms", "record", "decision")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_MS_FIELD_NUMBER: _ClassVar[int]
    SCORED_MS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    data_type: str
    model: ModelRef
    value: float
    label: str
    probabilities: _containers.RepeatedCompositeFieldContainer[ClassProbability]
    source: Source
    received_ms: int
    scored_ms: int
    record: bytes
    decision: Decision
    def __init__(self, data_type: _Optional[str] = ..., model: _Optional[_Union[ModelRef, _Mapping]] = ..., value: _Optional[float] = ..., label: _Optional[str] = ..., probabilities: _Optional[_Iterable[_Union[ClassProbability, _Mapping]]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., received_ms: _Optional[int] = ..., scored_ms: _Optional[int] = ..., record: _Optional[bytes] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...
