"""Models on an engine in a process of its own, for what cannot be compiled to ONNX."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.config import MEBIBYTE
from repertory.errors import ModelRejected
from repertory.models.child import Child, Limits
from repertory.models.engine_model import EngineFailed, EngineModel
from repertory.models.inputs import Tensors
from repertory.models.model import ModelBroken, PreparedModel
from repertory.models.pipe import PipeClosed
from repertory.models.work_folder import WorkFolder

# TensorFlow takes four seconds to import, a JVM one to start; on a busy machine several times that.
LOAD_SECONDS = 60.0

# An endless loop in a graph ignores every other limit.
BATCH_SECONDS = 30.0

# Address space: TensorFlow and a JVM reserve some three gigabytes, of which they use a tenth.
_LIMITS = Limits(memory_bytes=6144 * MEBIBYTE, file_bytes=MEBIBYTE)


class RemoteEngineModel(EngineModel):
    """A model in a worker process, which is confined and dies with this one.

    Records are judged here; only good ones travel. A batch that takes longer than BATCH_SECONDS, or
    a worker that dies, breaks the model: load it again.
    """

    def __init__(self, prepared: PreparedModel, *, batch_seconds: float = BATCH_SECONDS) -> None:
        super().__init__(prepared.signature)
        self._batch_seconds = batch_seconds
        self._folder = WorkFolder("engine")
        self._child = Child(
            "repertory.models.engine_process", folder=self._folder.path, limits=_LIMITS
        )
        self._broken: str | None = None
        try:
            self._load(prepared)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id of the worker."""
        return self._child.pid

    def _load(self, prepared: PreparedModel) -> None:
        content = np.frombuffer(prepared.content, np.uint8)
        header = {"engine": prepared.engine.value, "classes": prepared.signature.classes}
        try:
            self._child.pipe.send(header, {"content": content}, seconds=LOAD_SECONDS)
            answer, _ = self._child.pipe.receive(seconds=LOAD_SECONDS)
        except (PipeClosed, TimeoutError) as error:
            end = self._child.kill()
            words = self._child.last_words().strip()[-300:]
            raise ModelRejected(
                f"its engine ({prepared.engine.value}) does not load the model ({end}) {words}"
            ) from error
        if "failed" in answer:
            raise ModelRejected(f"its engine refuses the model: {answer['failed']}")

    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names`. Raises EngineFailed, ModelBroken."""
        if self._broken is not None:
            raise ModelBroken(self._broken)
        try:
            self._child.pipe.send({"names": names}, tensors, seconds=self._batch_seconds)
            answer, outputs = self._child.pipe.receive(seconds=self._batch_seconds)
        except TimeoutError as error:
            self._break(f"the engine did not answer within {self._batch_seconds:g} s")
            raise ModelBroken(self._broken) from error
        except PipeClosed as error:
            self._break(f"the engine's process died ({self._child.kill()})")
            raise ModelBroken(self._broken) from error
        if "failed" in answer:
            raise EngineFailed(answer["failed"])
        return outputs

    def close(self) -> None:
        """End the worker process. Idempotent."""
        self._break(self._broken or "the model is closed")

    def _break(self, reason: str) -> None:
        self._broken = reason
        self._child.close()
        self._folder.remove()
