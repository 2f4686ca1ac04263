"""The wines of the example: their features, one of them, many of them, and a model that is small.

Runs in the peers' environments, too: nothing but the standard library.
"""

import csv
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "wine"
MODEL = EXAMPLE / "models" / "05-mlp.onnx"
"""A perceptron: what it costs to be asked outweighs what scoring costs."""

FEATURES = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)
"""In the order in which the models take them."""

LABELS = ("3", "4", "5", "6", "7", "8")
"""In the order of the probabilities."""

Wine = dict[str, float]


def wines(count: int) -> list[Wine]:
    """Return the first red wines of the example."""
    with (EXAMPLE / "data" / "winequality-red.csv").open(newline="") as file:
        rows = zip(csv.DictReader(file), range(count), strict=False)
        return [{name: float(row[name]) for name in FEATURES} for row, _ in rows]


WINE = wines(1)[0]
