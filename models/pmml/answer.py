"""What a model answers for each record."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Tensors of doubles with a row for each record (or one row, the same for all).

    Regression has `value` [n, 1]. Classification has `label` [n, 1], an index into `classes`, and,
    if the model gives them, `probabilities` [n, len(classes)]. NaN means: no prediction.
    """

    value: str | None = None
    classes: tuple[str, ...] = ()
    label: str | None = None
    probabilities: str | None = None
