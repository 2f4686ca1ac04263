"""The green room's child: checks one model after the other, each asked for by a frame."""

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import repertory.models.onnx_check  # noqa: F401  so that the first check is as quick as others
from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.check import check
from repertory.models.confinement import allow_cpu_seconds
from repertory.models.model import Schema
from repertory.models.pipe import Pipe, PipeClosed
from repertory.models.prepared import save_prepared


def serve(handle: int, network: str) -> None:
    """Answer the frames of the pipe at `handle` until it closes."""
    pipe = Pipe(socket.socket(fileno=handle))
    with contextlib.suppress(PipeClosed):
        start, _ = pipe.receive()
        limits = Models.model_validate(start["limits"])
        schemas = TypeAdapter(dict[str, Schema]).validate_python(start["schemas"])
        pipe.send({"network": network})
        while True:
            request, _ = pipe.receive()
            allow_cpu_seconds(2 * limits.check_seconds)
            pipe.send(_answer(request, schemas, limits))


def _answer(
    request: Mapping[str, str], schemas: Mapping[str, Schema], limits: Models
) -> dict[str, Any]:
    scratch = Path(request["scratch"])
    os.chdir(scratch)
    try:
        descriptor = Path(request["descriptor"])
        checked = check(descriptor, schemas=schemas, limits=limits, scratch=scratch)
        save_prepared(checked.prepared, Path(request["result"]))
    except ModelRejected as error:
        return {"rejected": _clear(error.reason, limits.check_memory_mb)}
    except MemoryError:
        return {"rejected": _too_large(limits.check_memory_mb)}
    except Exception as error:  # noqa: BLE001  whatever a hostile model provokes, the next one waits
        reason = f"the check failed: {type(error).__name__}: {error}"
        return {"rejected": _clear(reason, limits.check_memory_mb)}
    published = checked.published
    return {
        "data_type": published.data_type,
        "name": published.name,
        "description": published.description,
        "model_type": int(published.model_type),
        "sha256": published.sha256,
    }


# How engines say that they got no memory.
_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "OOM when allocating", "out of memory")


def _clear(reason: str, memory_mb: int) -> str:
    if any(words in reason for words in _NO_MEMORY):
        return _too_large(memory_mb)
    return reason[:1000]


def _too_large(memory_mb: int) -> str:
    return (
        f"the model needs more memory than its check allows (models.check_memory_mb = {memory_mb})"
    )
