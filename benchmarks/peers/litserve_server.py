"""LitServe: an API whose worker is a process of its own; with `max_batch_size` it batches."""

from typing import Any

import litserve
from benchmarks.peers.wine_model import (
    BATCHING,
    MAX_BATCH,
    MAX_WAIT_SECONDS,
    PORT,
    Answer,
    WineModel,
    row,
)


class WineAPI(litserve.LitAPI):
    """Scores a wine, or the wines of a batch."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self._model = WineModel()

    def decode_request(self, request: dict[str, float]) -> list[float]:
        """Return the features."""
        return row(request)

    def batch(self, inputs: list[list[float]]) -> list[list[float]]:
        """Return the batch: rows need not be stacked here."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Score."""
        return self._model.answers(x) if BATCHING else self._model.answers([x])[0]

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """Return the parts of a batch."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """Return what is answered."""
        return output


if __name__ == "__main__":
    settings: dict[str, Any] = (
        {"max_batch_size": MAX_BATCH, "batch_timeout": MAX_WAIT_SECONDS} if BATCHING else {}
    )
    server = litserve.LitServer(WineAPI(**settings), accelerator="cpu")
    server.run("127.0.0.1", PORT, log_level="warning", generate_client_file=False)
