"""Prepared models on disk: how they pass from the green room to the keeper, and outlive a restart."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from repertory.errors import SnapshotCorrupt
from repertory.models.model import Engine, PreparedModel, Signature

CONTENT = "content"
DESCRIPTION = "prepared.json"
CHECKED = "checked"
_SIGNATURE = TypeAdapter(Signature)


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    engine: Engine
    content_sha256: str
    signature: Signature


class _Sealed(BaseModel):
    """A description, and the digest of its text: flipped bits in either are seen."""

    sha256: str
    description: str


def save_prepared(prepared: PreparedModel, folder: Path, *, checked: str = "") -> None:
    """Write a model as the new `folder`, whole or not at all; what was there is replaced.

    Durable when this returns: files and folders are synced before the rename and after it.
    `checked` tells others by whom, and against what, the model was checked.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        description = _Description(
            engine=prepared.engine,
            content_sha256=hashlib.sha256(prepared.content).hexdigest(),
            signature=prepared.signature,
        ).model_dump_json()
        sealed = _Sealed(sha256=_digest(description), description=description)
        _write(temporary / CONTENT, prepared.content)
        _write(temporary / DESCRIPTION, sealed.model_dump_json().encode())
        if checked:
            _write(temporary / CHECKED, checked.encode())
        _sync(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def load_prepared(folder: Path) -> PreparedModel:
    """Read what `save_prepared` wrote. Raises SnapshotCorrupt when anything in it differs."""
    try:
        sealed = _Sealed.model_validate_json((folder / DESCRIPTION).read_bytes())
        if _digest(sealed.description) != sealed.sha256:
            raise SnapshotCorrupt(f"{folder / DESCRIPTION}: its digest does not match")
        description = _Description.model_validate_json(sealed.description)
        content = (folder / CONTENT).read_bytes()
    except OSError as error:
        raise SnapshotCorrupt(f"{folder}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise SnapshotCorrupt(f"{folder / DESCRIPTION}: is not a prepared model") from error
    if hashlib.sha256(content).hexdigest() != description.content_sha256:
        raise SnapshotCorrupt(f"{folder / CONTENT}: its digest does not match")
    return PreparedModel(description.engine, content, description.signature)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
