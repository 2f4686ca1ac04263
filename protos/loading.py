"""Finding the protobuf message that cluster.yaml names for a data type."""

import importlib

from google.protobuf.message import Message

from repertory.errors import ConfigError


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
