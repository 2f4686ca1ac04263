"""The green room: where a published model is checked and compiled before it may serve."""

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from repertory.config import MEBIBYTE, Models
from repertory.errors import ModelRejected, RepertoryError, SnapshotCorrupt
from repertory.models.child import Child, Limits
from repertory.models.descriptor import refuse_too_large
from repertory.models.model import PreparedModel, Schema
from repertory.models.pipe import PipeClosed
from repertory.models.prepared import load_prepared
from repertory.models.work_folder import WorkFolder
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

# A fresh child imports numpy and ONNX; ten times what that takes on a busy machine.
_START_SECONDS = 30.0

# TensorFlow keeps a little of each graph; a fresh child now and then costs less than looking.
_MOST_CHECKS = 50

_DIED = "the check died"


class GreenRoomFailed(RepertoryError):
    """The green room itself does not work; this says nothing of the model."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A model that may serve, and what its descriptor says of it."""

    data_type: str
    name: str
    description: str
    model_type: ModelDescriptor.ModelType
    sha256: str  # of the published content
    prepared: PreparedModel


class GreenRoom:
    """Checks models in a child process, one at a time. Thread-safe; calls block.

    The child is spawned, confined (memory, processor time, files, no network where the system
    allows that), kept warm between checks, and replaced when it dies, takes too long, or is old.
    It never outlives this process. What it found comes back as files, checked by digest.
    """

    def __init__(self, limits: Models, schemas: Mapping[str, Schema]) -> None:
        self._limits = limits
        self._schemas = schemas
        self._lock = threading.Lock()
        self._folder = WorkFolder("green-room")
        self._child: Child | None = None
        self._checks = 0
        self._closed = False
        self.network = "not started"
        """How far the child is cut off: `none`, or `not isolated: …` with the reason."""
        self._child = self._start()

    @property
    def folder(self) -> Path:
        """Where checks under way keep their files; removed by `close`."""
        return self._folder.path

    def prepare(self, descriptor: bytes | Path) -> Admitted:
        """Check a serialised ModelDescriptor, given as bytes or a file of them.

        Raises ModelRejected, whose reason names what is at fault, and GreenRoomFailed.
        """
        size = len(descriptor) if isinstance(descriptor, bytes) else _size_of(descriptor)
        refuse_too_large(size, self._limits)
        with self._lock:
            self._refuse_closed()
            work = Path(tempfile.mkdtemp(dir=self._folder.path))
            try:
                return self._prepare(descriptor, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def close(self) -> None:
        """End the child and remove what is on disk. Idempotent.

        A check under way in another thread is given up: its `prepare` raises GreenRoomFailed.
        """
        self._closed = True
        child = self._child
        if child is not None:
            child.interrupt()
        with self._lock:
            self._end_child()
            self._folder.remove()

    def _prepare(self, descriptor: bytes | Path, work: Path) -> Admitted:
        if isinstance(descriptor, bytes):
            path = work / "descriptor"
            path.write_bytes(descriptor)
        else:
            path = descriptor.absolute()
        scratch, result = work / "scratch", work / "result"
        scratch.mkdir()
        request = {"descriptor": str(path), "scratch": str(scratch), "result": str(result)}
        answer = self._ask(request)
        if "rejected" in answer:
            raise ModelRejected(answer["rejected"])
        try:
            return Admitted(
                data_type=answer["data_type"],
                name=answer["name"],
                description=answer["description"],
                model_type=cast(ModelDescriptor.ModelType, int(answer["model_type"])),
                sha256=answer["sha256"],
                prepared=load_prepared(result),
            )
        except (KeyError, TypeError, ValueError, SnapshotCorrupt) as error:
            self._replace_child()
            raise ModelRejected(f"{_DIED}: it left no whole result ({error})") from error

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        child = self._ready_child()
        self._checks += 1
        try:
            child.pipe.send(request, seconds=_START_SECONDS)
            return child.pipe.receive(seconds=self._limits.check_seconds)[0]
        except TimeoutError:
            self._replace_child()
            raise ModelRejected(
                f"the check took longer than {self._limits.check_seconds:g} s"
            ) from None
        except PipeClosed:
            self._refuse_closed()
            end = child.kill()
            words = child.last_words()
            self._replace_child()
            if "bad_alloc" in words:
                end += f", out of memory: models.check_memory_mb = {self._limits.check_memory_mb}"
            raise ModelRejected(f"{_DIED} ({end})") from None

    def _refuse_closed(self) -> None:
        if self._closed:
            raise GreenRoomFailed("the green room is closed")

    def _ready_child(self) -> Child:
        if self._child is None or not self._child.alive or self._checks >= _MOST_CHECKS:
            self._end_child()
            self._child = self._start()
        return self._child

    def _replace_child(self) -> None:
        """Put a fresh child in place of this one; if it does not start, the next check tries again."""
        self._end_child()
        with contextlib.suppress(GreenRoomFailed):
            self._child = self._start()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self) -> Child:
        largest_file_mb = 4 * self._limits.max_mb + 64  # a model unpacked, or what it compiles to
        child = Child(
            "repertory.models.check_process",
            folder=self._folder.path,
            limits=Limits(self._limits.check_memory_mb * MEBIBYTE, largest_file_mb * MEBIBYTE),
            own_group=True,
        )
        start = {
            "limits": self._limits.model_dump(mode="json"),
            "schemas": {name: asdict(schema) for name, schema in self._schemas.items()},
        }
        try:
            child.pipe.send(start, seconds=_START_SECONDS)
            answer, _ = child.pipe.receive(seconds=_START_SECONDS)
        except (PipeClosed, TimeoutError) as error:
            end, words = child.kill(), child.last_words().strip()
            child.close()
            raise GreenRoomFailed(
                f"the process that checks models does not start ({end}): {words[-500:]}"
            ) from error
        self.network = str(answer["network"])
        self._checks = 0
        return child


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise GreenRoomFailed(f"{path}: cannot be read: {error.strerror}") from error
