"""Ray Serve: a deployment behind its HTTP proxy; `serve.batch` batches."""

import signal
from typing import Any

import ray
from benchmarks.peers.wine_model import (
    BATCHING,
    MAX_BATCH,
    MAX_WAIT_SECONDS,
    PORT,
    Answer,
    WineModel,
    row,
)
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=256, logging_config={"enable_access_log": False})
class Wines:
    """Scores a wine."""

    def __init__(self) -> None:
        self._model = WineModel()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=MAX_WAIT_SECONDS)
    async def together(self, rows: list[list[float]]) -> list[Answer]:
        """Score the wines that came together."""
        return self._model.answers(rows)

    async def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        wine = row(await request.json())
        if BATCHING:
            answer: Any = await self.together(wine)
            return answer
        return self._model.answers([wine])[0]


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options={"host": "127.0.0.1", "port": PORT},
        logging_config={"enable_access_log": False},
    )
    serve.run(Wines.bind())
    try:
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()
