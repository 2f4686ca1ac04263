"""Models on ONNX Runtime: the one engine of a serving actor."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from repertory.errors import ModelRejected
from repertory.models.engine_model import EngineFailed, EngineModel
from repertory.models.inputs import Tensors
from repertory.models.model import ModelBroken, PreparedModel
from repertory.models.text import first_line

ort.set_default_logger_severity(4)  # what goes wrong is raised; its log repeats it on stderr


class OnnxModel(EngineModel):
    """A model in this process. Memory only: close is letting go.

    A graph whose batch dimension is fixed at 1 is served record by record.
    """

    def __init__(self, prepared: PreparedModel) -> None:
        super().__init__(prepared.signature)
        self._session: ort.InferenceSession | None = open_session(prepared.content)
        self.row_by_row = any(
            source.shape and source.shape[0] == 1 for source in self._session.get_inputs()
        )

    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names`. Raises EngineFailed; ModelBroken once it is closed."""
        if self._session is None:
            raise ModelBroken("the model is closed")
        return run_session(self._session, tensors, names)

    def close(self) -> None:
        """Free the session. Idempotent."""
        self._session = None


def open_session(content: bytes) -> ort.InferenceSession:
    """Return a session of one thread: parallelism comes from actors, and spinning burns a core.

    Raises ModelRejected when ONNX Runtime refuses the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:
        raise ModelRejected(f"ONNX Runtime refuses the model: {first_line(error)}") from error


def run_session(
    session: ort.InferenceSession,
    tensors: Tensors,
    names: list[str],
    options: ort.RunOptions | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the outputs `names` of one run. Raises EngineFailed."""
    try:
        outputs = session.run(names, tensors, options)
    except Exception as error:
        raise EngineFailed(first_line(error)) from error
    for name, output in zip(names, outputs, strict=True):
        if not isinstance(output, np.ndarray):
            raise EngineFailed(f"output {name} is not a tensor")
    return dict(zip(names, outputs, strict=True))


class TimedRuns:
    """Runs of a model that is not trusted to end: all of them together get `seconds`."""

    def __init__(self, content: bytes, seconds: float) -> None:
        self._session = open_session(content)
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def run(self, tensors: Tensors, names: list[str]) -> dict[str, NDArray[Any]]:
        """Return outputs. Raises EngineFailed; ModelRejected when the time is up."""
        options = ort.RunOptions()
        timer = threading.Timer(
            max(self._end - time.monotonic(), 0.001), setattr, (options, "terminate", True)
        )
        timer.daemon = True
        timer.start()
        try:
            return run_session(self._session, tensors, names, options)
        except EngineFailed:
            if options.terminate:
                raise ModelRejected(f"the model did not end within {self._seconds:g} s") from None
            raise
        finally:
            timer.cancel()
