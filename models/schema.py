"""From the configuration of a data type to its protobuf message and its schema."""

from itertools import chain
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from repertory.config import DataType, split_feature
from repertory.errors import ConfigError
from repertory.models.model import Feature, FeatureKind, Schema, Vector
from repertory.models.names import normalise
from repertory.protos.loading import load_message

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


def schema_of(name: str, config: DataType) -> Schema:
    """Return the schema of the data type `name`.

    Text fields of its message give TEXT features; numbers, booleans and enums give NUMBER ones,
    and repeated ones of those give vectors of the width that is declared.
    Raises ConfigError when the message cannot be imported or a feature is none of its fields.
    """
    message = load_message(config.message)
    where = f"data_types.{name}.features"
    fields = tuple(_field(where, text, message) for text in config.features)
    schema = Schema(name, fields)
    spellings: dict[str, str] = {}
    # The name of a vector is a key of JSON records, as the names of features are.
    vectors = [each.name for each in fields if isinstance(each, Vector)]
    for spelled in chain(vectors, (feature.name for feature in schema.features)):
        spelling = normalise(spelled)
        if spelling in spellings:
            pair = f"{spellings[spelling]!r} and {spelled!r}"
            raise ConfigError(f"{where}: {pair} are one name to models")
        spellings[spelling] = spelled
    return schema


def _field(key: str, text: str, message: type[Message]) -> Feature | Vector:
    name, width = split_feature(text)
    where = f"{key}: {text!r}"
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        fields = ", ".join(message.DESCRIPTOR.fields_by_name)
        raise ConfigError(f"{where} is not a field of {message.DESCRIPTOR.name}; it has {fields}")
    is_number = field.cpp_type in _NUMBERS
    if field.is_repeated and not is_number:
        raise ConfigError(f"{where} is a repeated field, but not of numbers; a vector is")
    if field.is_repeated and width is None:
        raise ConfigError(
            f"{where} is a repeated field; say how many numbers it has, as in {name}[784]"
        )
    if width is not None and not field.is_repeated:
        raise ConfigError(f"{where} is not a repeated field; without a width it is one value")
    if width is not None:
        return Vector(name, width)
    if is_number:
        return Feature(name, FeatureKind.NUMBER)
    if field.type == FieldDescriptor.TYPE_STRING:
        return Feature(name, FeatureKind.TEXT)
    raise ConfigError(f"{where} is a message or bytes; a feature is a number or a text")
