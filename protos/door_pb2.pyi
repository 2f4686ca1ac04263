from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("kind", "correlation_id", "data_type", "count", "budget_ms", "encoding", "subject", "explain", "forwarded", "position", "slot")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Envelope.Kind]
        HELLO: _ClassVar[Envelope.Kind]
        WELCOME: _ClassVar[Envelope.Kind]
        SCORE: _ClassVar[Envelope.Kind]
        SCORED: _ClassVar[Envelope.Kind]
        ASK: _ClassVar[Envelope.Kind]
        ANSWER: _ClassVar[Envelope.Kind]
        FAILURE: _ClassVar[Envelope.Kind]
        TELL: _ClassVar[Envelope.Kind]
        CHALLENGE: _ClassVar[Envelope.Kind]
    KIND_UNSPECIFIED: Envelope.Kind
    HELLO: Envelope.Kind
    WELCOME: Envelope.Kind
    SCORE: Envelope.Kind
    SCORED: Envelope.Kind
    ASK: Envelope.Kind
    ANSWER: Envelope.Kind
    FAILURE: Envelope.Kind
    TELL: Envelope.Kind
    CHALLENGE: Envelope.Kind
    class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PROTOBUF: _ClassVar[Envelope.Encoding]
        JSON: _ClassVar[Envelope.Encoding]
    PROTOBUF: Envelope.Encoding
    JSON: Envelope.Encoding
    KIND_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    kind: Envelope.Kind
    correlation_id: int
    data_type: str
    count: int
    budget_ms: int
    encoding: Envelope.Encoding
    subject: str
    explain: bool
    forwarded: bool
    position: int
    slot: str
    def __init__(self, kind: _Optional[_Union[Envelope.Kind, str]] = ..., correlation_id: _Optional[int] = ..., data_type: _Optional[str] = ..., count: _Optional[int] = ..., budget_ms: _Optional[int] = ..., encoding: _Optional[_Union[Envelope.Encoding, str]] = ..., subject: _Optional[str] = ..., explain: _Optional[bool] = ..., forwarded: _Optional[bool] = ..., position: _Optional[int] = ..., slot: _Optional[str] = ...) -> None: ...

class Challenge(_message.Message):
    __slots__ = ("protocol", "nonce", "node")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    nonce: bytes
    node: str
    def __init__(self, protocol: _Optional[int] = ..., nonce: _Optional[bytes] = ..., node: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "role", "name", "pid", "oldest_protocol", "incarnation", "software", "nonce", "proof", "agreement")
    class AgreementEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    OLDEST_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    role: str
    name: str
    pid: int
    oldest_protocol: int
    incarnation: str
    software: str
    nonce: bytes
    proof: bytes
    agreement: _containers.ScalarMap[str, str]
    def __init__(self, protocol: _Optional[int] = ..., role: _Optional[str] = ..., name: _Optional[str] = ..., pid: _Optional[int] = ..., oldest_protocol: _Optional[int] = ..., incarnation: _Optional[str] = ..., software: _Optional[str] = ..., nonce: _Optional[bytes] = ..., proof: _Optional[bytes] = ..., agreement: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "node", "incarnation", "credit", "software", "proof")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    node: str
    incarnation: str
    credit: int
    software: str
    proof: bytes
    def __init__(self, protocol: _Optional[int] = ..., node: _Optional[str] = ..., incarnation: _Optional[str] = ..., credit: _Optional[int] = ..., software: _Optional[str] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class RecordFailure(_message.Message):
    __slots__ = ("index", "code", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    code: str
    message: str
    def __init__(self, index: _Optional[int] = ..., code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ScoredBatch(_message.Message):
    __slots__ = ("model_name", "model_version", "model_sha256", "values", "labels", "chosen", "probabilities", "failures", "decode_us", "score_us", "policy", "extras")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DECODE_US_FIELD_NUMBER: _ClassVar[int]
    SCORE_US_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: int
    model_sha256: str
    values: bytes
    labels: _containers.RepeatedScalarFieldContainer[str]
    chosen: bytes
    probabilities: bytes
    failures: _containers.RepeatedCompositeFieldContainer[RecordFailure]
    decode_us: int
    score_us: int
    policy: PolicyReport
    extras: _containers.RepeatedCompositeFieldContainer[Extra]
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[int] = ..., model_sha256: _Optional[str] = ..., values: _Optional[bytes] = ..., labels: _Optional[_Iterable[str]] = ..., chosen: _Optional[bytes] = ..., probabilities: _Optional[bytes] = ..., failures: _Optional[_Iterable[_Union[RecordFailure, _Mapping]]] = ..., decode_us: _Optional[int] = ..., score_us: _Optional[int] = ..., policy: _Optional[_Union[PolicyReport, _Mapping]] = ..., extras: _Optional[_Iterable[_Union[Extra, _Mapping]]] = ...) -> None: ...

class Extra(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: bytes
    def __init__(self, name: _Optional[str] = ..., values: _Optional[bytes] = ...) -> None: ...

class PolicyReport(_message.Message):
    __slots__ = ("policy", "version", "slots", "chosen", "fallback", "slack_us")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    SLACK_US_FIELD_NUMBER: _ClassVar[int]
    policy: str
    version: int
    slots: _containers.RepeatedCompositeFieldContainer[SlotReport]
    chosen: bytes
    fallback: bytes
    slack_us: int
    def __init__(self, policy: _Optional[str] = ..., version: _Optional[int] = ..., slots: _Optional[_Iterable[_Union[SlotReport, _Mapping]]] = ..., chosen: _Optional[bytes] = ..., fallback: _Optional[bytes] = ..., slack_us: _Optional[int] = ...) -> None: ...

class SlotReport(_message.Message):
    __slots__ = ("slot", "state", "shadow", "model_name", "model_version", "model_sha256", "reason", "answer", "rows")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NOT_ASKED: _ClassVar[SlotReport.State]
        ARRIVED: _ClassVar[SlotReport.State]
        LATE: _ClassVar[SlotReport.State]
        FAILED: _ClassVar[SlotReport.State]
        NOT_NEEDED: _ClassVar[SlotReport.State]
    NOT_ASKED: SlotReport.State
    ARRIVED: SlotReport.State
    LATE: SlotReport.State
    FAILED: SlotReport.State
    NOT_NEEDED: SlotReport.State
    SLOT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    slot: str
    state: SlotReport.State
    shadow: bool
    model_name: str
    model_version: int
    model_sha256: str
    reason: str
    answer: ScoredBatch
    rows: bytes
    def __init__(self, slot: _Optional[str] = ..., state: _Optional[_Union[SlotReport.State, str]] = ..., shadow: _Optional[bool] = ..., model_name: _Optional[str] = ..., model_version: _Optional[int] = ..., model_sha256: _Optional[str] = ..., reason: _Optional[str] = ..., answer: _Optional[_Union[ScoredBatch, _Mapping]] = ..., rows: _Optional[bytes] = ...) -> None: ...
