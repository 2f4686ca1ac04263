from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Policy(_message.Message):
    __slots__ = ("dataType", "description", "settings")
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    dataType: str
    description: str
    settings: str
    def __init__(self, dataType: _Optional[str] = ..., description: _Optional[str] = ..., settings: _Optional[str] = ...) -> None: ...
