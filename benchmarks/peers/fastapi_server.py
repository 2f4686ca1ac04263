"""The floor: FastAPI and ONNX Runtime in one process, as anybody would write it in ten minutes.

The endpoint is `async`, since scoring takes microseconds: in a pool of threads it is slower.
"""

from benchmarks.peers.wine_model import Answer, WineModel
from fastapi import FastAPI
from pydantic import BaseModel


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


app = FastAPI()
model = WineModel()


@app.post("/predict")
async def predict(wine: Wine) -> Answer:
    """Score a wine."""
    values = wine.__dict__  # the fields stand in the order of the features
    return model.answers([list(values.values())])[0]
