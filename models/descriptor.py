"""From a published ModelDescriptor to what it holds: who it is for, of which type, its content."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from google.protobuf.message import DecodeError

from repertory.config import MEBIBYTE, Models
from repertory.errors import ModelRejected
from repertory.models.archive import plain_files
from repertory.models.sniff import guess_model_type
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

# What a descriptor may hold besides its content: name, description, data type, location.
_ROOM_FOR_NAMES = MEBIBYTE

# What begins with a scheme, as in http://, file: or s3://.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Published:
    """A descriptor whose own fields make sense, with its content in memory or a folder of it."""

    data_type: str
    name: str
    description: str
    model_type: ModelDescriptor.ModelType
    sha256: str  # of the content; of a folder, see `folder_digest`
    content: bytes = b""
    folder: Path | None = None  # of a SavedModel at a location


def refuse_too_large(size: int, limits: Models) -> None:
    """Refuse a serialised descriptor by its size, before anyone parses it."""
    if size > limits.max_mb * MEBIBYTE + _ROOM_FOR_NAMES:
        raise ModelRejected(
            f"the model has {size / MEBIBYTE:.0f} MiB, "
            f"more than models.max_mb = {limits.max_mb} allows"
        )


def read_descriptor(serialised: bytes, limits: Models) -> Published:
    """Return what a serialised ModelDescriptor holds. Raises ModelRejected."""
    refuse_too_large(len(serialised), limits)
    if not serialised:
        raise ModelRejected("the descriptor is empty")
    descriptor = ModelDescriptor()
    try:
        descriptor.ParseFromString(serialised)
    except DecodeError as error:
        raise ModelRejected(
            f"not a ModelDescriptor message, or a truncated one: {error}"
        ) from error
    if not descriptor.dataType:
        raise ModelRejected("the descriptor names no data type: set dataType")
    _refuse_misleading(descriptor.name)
    model_type = _known_type(descriptor)
    which = descriptor.WhichOneof("MessageContent")
    if which == "data":
        content, folder = descriptor.data, None
    elif which == "location":
        content, folder = _at_location(descriptor.location, model_type, limits)
    else:
        raise ModelRejected("the descriptor holds no model: set data or location")
    if folder is None:
        _refuse_wrong_content(content, model_type, limits)
    return Published(
        data_type=descriptor.dataType,
        name=descriptor.name,
        description=descriptor.description,
        model_type=model_type,
        sha256=_digest(content, folder, limits),
        content=content,
        folder=folder,
    )


def _refuse_misleading(name: str) -> None:
    """Refuse a name that leads somewhere when it is taken for a path, or hides what it says."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ModelRejected(f"the name {name!r} is a path: it begins with /, or has .. or \\")
    if not name.isprintable():
        raise ModelRejected(f"the name {name!r} has characters that cannot be seen")


def _digest(content: bytes, folder: Path | None, limits: Models) -> str:
    if folder is None:
        return hashlib.sha256(content).hexdigest()
    try:
        return folder_digest(folder, most_bytes=limits.max_mb * MEBIBYTE)
    except OSError as error:
        raise ModelRejected(f"location {str(folder)!r} cannot be read: {error.strerror}") from error


def _known_type(descriptor: ModelDescriptor) -> ModelDescriptor.ModelType:
    if descriptor.modeltype not in ModelDescriptor.ModelType.values():
        known = ", ".join(ModelDescriptor.ModelType.keys())
        raise ModelRejected(f"modeltype {descriptor.modeltype} is none of {known}")
    if descriptor.modeltype == ModelDescriptor.PFA:
        raise ModelRejected(
            "PFA is not served: no engine for it is safe to run; export the model as PMML or ONNX"
        )
    return descriptor.modeltype


def _refuse_wrong_content(
    content: bytes, model_type: ModelDescriptor.ModelType, limits: Models
) -> None:
    """Refuse content that is empty, too large, or plainly of another type than declared."""
    if not content:
        raise ModelRejected("the model's content is empty")
    if len(content) > limits.max_mb * MEBIBYTE:
        refuse_too_large(len(content) + _ROOM_FOR_NAMES, limits)
    guess = guess_model_type(content)
    if guess == model_type:
        return
    declared = ModelDescriptor.ModelType.Name(model_type)
    if guess is None:
        raise ModelRejected(f"the content does not look like a model of type {declared}")
    hint = " (or modeltype was not set)" if model_type == ModelDescriptor.TENSORFLOW else ""
    raise ModelRejected(
        f"modeltype is {declared}{hint}, but the content looks like "
        f"{ModelDescriptor.ModelType.Name(guess)}"
    )


def _at_location(
    location: str, model_type: ModelDescriptor.ModelType, limits: Models
) -> tuple[bytes, Path | None]:
    path = _allowed(location, limits)
    try:
        if path.is_dir():
            if model_type != ModelDescriptor.TENSORFLOWSAVED:
                raise ModelRejected(
                    f"location {location!r} is a folder; only a SavedModel may be one"
                )
            return b"", path
        if not path.is_file():
            raise ModelRejected(f"location {location!r} is not there")
        if path.stat().st_size > limits.max_mb * MEBIBYTE:
            refuse_too_large(path.stat().st_size + _ROOM_FOR_NAMES, limits)
        return path.read_bytes(), None
    except OSError as error:
        raise ModelRejected(f"location {location!r} cannot be read: {error.strerror}") from error


def _allowed(location: str, limits: Models) -> Path:
    """Return the file or folder that a location leads to, links followed, if it may be read."""
    if _URL.match(location):
        raise ModelRejected(
            f"location {location!r} is a URL, and none is followed: give the absolute path of a"
            " file or folder below one of models.roots, or send the model in data"
        )
    if "\0" in location or not Path(location).is_absolute():
        raise ModelRejected(f"location {location!r} is not an absolute path")
    if not limits.roots:
        raise ModelRejected(
            "no location is accepted: models.roots is empty; send the model in data"
        )
    try:
        path = Path(location).resolve()
    except (OSError, RuntimeError) as error:  # the latter: links that lead in a circle
        raise ModelRejected(f"location {location!r} cannot be followed: {error}") from error
    if not any(path.is_relative_to(root.resolve()) for root in limits.roots):
        raise ModelRejected(f"location {location!r} is not below any of models.roots")
    return path


def folder_digest(folder: Path, *, most_bytes: int | None = None) -> str:
    """Return a SHA-256 over the relative names, sizes and bytes of a folder's files, in order.

    Raises ModelRejected for links, which could lead out of it, and for more than `most_bytes`.
    """
    digest = hashlib.sha256()
    for path in plain_files(folder, most_bytes=most_bytes):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix().encode()
        digest.update(len(name).to_bytes(8) + name + len(content).to_bytes(8) + content)
    return digest.hexdigest()
