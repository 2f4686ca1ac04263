"""From the configuration of a data type to its protobuf message and its schema."""

import importlib
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from repertory.config import DataType
from repertory.errors import ConfigError
from repertory.models.model import Feature, FeatureKind, Schema
from repertory.models.names import normalise

_TEXT: Final = {FieldDescriptor.CPPTYPE_STRING}
_NUMBERS: Final = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_ENUM,
}


def load_message(spec: str) -> type[Message]:
    """Return the message class that `module:Class` names. Raises ConfigError."""
    module_name, colon, class_name = spec.partition(":")
    if not colon or not module_name or not class_name:
        raise ConfigError(f"message {spec!r}: write it as module:Class of a generated module")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"message {spec!r}: {module_name} cannot be imported: {error}; is it on PYTHONPATH?"
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Message)):
        raise ConfigError(f"message {spec!r}: {module_name} has no protobuf message {class_name}")
    return found


def schema_of(name: str, config: DataType) -> Schema:
    """Return the schema of the data type `name`.

    Text fields of its message give TEXT features; numbers, booleans and enums give NUMBER ones.
    Raises ConfigError when the message cannot be imported or a feature is not a plain field of it.
    """
    message = load_message(config.message)
    features = tuple(_feature(name, field, message) for field in config.features)
    spellings: dict[str, str] = {}
    for feature in features:
        spelling = normalise(feature.name)
        if spelling in spellings:
            pair = f"{spellings[spelling]!r} and {feature.name!r}"
            raise ConfigError(f"data_types.{name}.features: {pair} are one name to models")
        spellings[spelling] = feature.name
    return Schema(name, features)


def _feature(data_type: str, name: str, message: type[Message]) -> Feature:
    where = f"data_types.{data_type}.features: {name!r}"
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        fields = ", ".join(message.DESCRIPTOR.fields_by_name)
        raise ConfigError(f"{where} is not a field of {message.DESCRIPTOR.name}; it has {fields}")
    if field.is_repeated:
        raise ConfigError(f"{where} is a repeated field; a feature is one value")
    if field.cpp_type in _NUMBERS:
        return Feature(name, FeatureKind.NUMBER)
    if field.cpp_type in _TEXT and field.type == FieldDescriptor.TYPE_STRING:
        return Feature(name, FeatureKind.TEXT)
    raise ConfigError(f"{where} is a message or bytes; a feature is a number or a text")
