"""BentoML: a service of one worker. With `batchable`, its dispatcher adapts batches to the load."""

from typing import Any

import bentoml
from benchmarks.peers.wine_model import BATCHING, MAX_BATCH, Answer, WineModel, row
from pydantic import BaseModel

# The batch is a list for BentoML to cut; a single wine is the parameter itself.
api: Any = bentoml.api(batchable=True, max_batch_size=MAX_BATCH) if BATCHING else bentoml.api


class Wine(BaseModel):
    """What is asked."""

    fixed_acidity: float
    volatile_acidity: float
    citric_acid: float
    residual_sugar: float
    chlorides: float
    free_sulfur_dioxide: float
    total_sulfur_dioxide: float
    density: float
    pH: float
    sulphates: float
    alcohol: float


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Wines:
    """Scores wines."""

    def __init__(self) -> None:
        self._model = WineModel()

    @api
    def predict(self, wines: list[Wine]) -> list[Answer]:
        """Score wines."""
        return self._model.answers([row(wine.__dict__) for wine in wines])
