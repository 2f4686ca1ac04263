"""A worker process: one model on its own engine, answering batches over a pipe."""

import contextlib
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from repertory.models.engine_model import EngineFailed
from repertory.models.inputs import Tensors
from repertory.models.model import Engine
from repertory.models.pipe import Pipe, PipeClosed
from repertory.models.text import first_line


class _Loaded(Protocol):
    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]: ...


def serve(handle: int, network: str) -> None:
    """Load the model of the first frame, then answer batches until the pipe closes."""
    pipe = Pipe(socket.socket(fileno=handle))
    with contextlib.suppress(PipeClosed):
        header, arrays = pipe.receive()
        try:
            loaded = _load(Engine(header["engine"]), arrays["content"].tobytes(), header["classes"])
        except Exception as error:  # noqa: BLE001  each engine raises what it likes; the parent is told
            pipe.send({"failed": first_line(error)})
            return
        pipe.send({"network": network})
        while True:
            request, tensors = pipe.receive()
            try:
                outputs = loaded.run(dict(tensors), request["names"])
            except EngineFailed as error:
                pipe.send({"failed": str(error)})
            else:
                pipe.send({}, outputs)


def _load(engine: Engine, content: bytes, classes: list[str]) -> _Loaded:
    if engine is Engine.TENSORFLOW:
        from repertory.models.tensorflow_engine import load_frozen

        return load_frozen(content)
    from repertory.models.pypmml_engine import PypmmlModel

    return PypmmlModel(content, classes)
