"""What somebody publishes: the descriptor that a question to the keeper describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import DecodeError

from repertory.config import MEBIBYTE, ClusterConfig
from repertory.errors import InvalidRequest, PublishRejected
from repertory.models.sniff import guess_model_type
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor


def build_descriptor(data: Mapping[str, Any], config: ClusterConfig) -> ModelDescriptor:
    """Return the descriptor that a question describes.

    Reads the files that it names. Raises PublishRejected and InvalidRequest.
    """
    if (path := data.get("descriptor_file")) is not None:
        return _parse(_read(Path(path), config))
    descriptor = ModelDescriptor(
        name=data.get("name") or "",
        description=data.get("description") or "",
        dataType=data.get("data_type") or "",
        signature=(data.get("signature") or "").strip(),  # a file of it ends with a line
    )
    if location := data.get("location"):
        descriptor.location = location
    elif (path := data.get("content_file")) is not None:
        descriptor.data = _read(Path(path), config)
    else:
        raise InvalidRequest("there is no model: send a file, data or a location")
    descriptor.modeltype = _model_type(data.get("model_type"), descriptor)
    return descriptor


def _read(path: Path, config: ClusterConfig) -> bytes:
    size = path.stat().st_size
    if size > (config.models.max_mb + 1) * MEBIBYTE:
        raise PublishRejected(
            f"the model has {size // MEBIBYTE} MiB, more than models.max_mb = "
            f"{config.models.max_mb} allows"
        )
    return path.read_bytes()


def _parse(data: bytes) -> ModelDescriptor:
    try:
        descriptor = ModelDescriptor.FromString(data)
    except DecodeError as error:
        raise PublishRejected(f"this is no ModelDescriptor, or not a whole one: {error}") from error
    if not descriptor.dataType:
        raise PublishRejected("the descriptor has no dataType: is it a ModelDescriptor, and whole?")
    return descriptor


def _model_type(name: str | None, descriptor: ModelDescriptor) -> ModelDescriptor.ModelType:
    if name:
        known = ModelDescriptor.ModelType.keys()
        if name.upper() not in known:
            raise InvalidRequest(f"no modelType {name!r}; there are: {', '.join(known)}")
        return cast(ModelDescriptor.ModelType, ModelDescriptor.ModelType.Value(name.upper()))
    guess = guess_model_type(descriptor.data) if descriptor.data else None
    if guess is None:
        raise PublishRejected(
            "the type of the model cannot be told from its content: say modelType"
        )
    return guess
