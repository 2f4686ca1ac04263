"""What the peers' servers share: the ONNX session as their users would make it, and its settings.

The harness says by variables where to listen and whether to batch.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from benchmarks.wine import FEATURES, LABELS, MODEL
from numpy.typing import NDArray

PORT = int(os.environ.get("PEER_PORT", "8080"))
GRPC_PORT = int(os.environ.get("PEER_GRPC_PORT", "8081"))
BATCHING = os.environ.get("PEER_BATCHING") == "1"

MAX_BATCH, MAX_WAIT_SECONDS = 64, 0.002
"""What those get that must be told."""


Answer = dict[str, Any]
"""What a wine is answered with, in JSON: `label`, and `probabilities` by label."""


class WineModel:
    """Scores wines."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # as Repertory has it
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            MODEL, options, providers=["CPUExecutionProvider"]
        )

    def run(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
        """Return the labels, and the probabilities of all labels."""
        labels, probabilities = self._session.run(["label", "probabilities"], {"wine": rows})
        return labels, probabilities

    def answers(self, rows: Sequence[Sequence[float]]) -> list[Answer]:
        """Return what is said of each wine."""
        labels, probabilities = self.run(np.array(rows, np.float32))
        return [
            {"label": label, "probabilities": dict(zip(LABELS, row, strict=True))}
            for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
        ]


def row(wine: dict[str, float]) -> list[float]:
    """Return the features in order. Raises KeyError."""
    return [wine[name] for name in FEATURES]
