"""What goes out of a model, as metadata tell it before it has answered."""

from typing import Any

import pytest

from repertory.http.outputs import outputs_of

REGRESSION = {"task": "regression"}
LABELS = {"task": "classification"}


def classes(count: int) -> dict[str, Any]:
    return {"task": "classification", "probabilities": count}


@pytest.mark.parametrize(
    ("models", "outputs"),
    [
        ([REGRESSION], {"value": (-1,)}),
        ([LABELS], {"label": (-1,)}),
        ([classes(6)], {"label": (-1,), "probabilities": (-1, 6)}),
        ([classes(6), LABELS], {"label": (-1,), "probabilities": (-1, 6)}),
        ([classes(6), classes(3)], {"label": (-1,), "probabilities": (-1, -1)}),
        ([classes(6), REGRESSION], {"label": (-1,), "probabilities": (-1, 6), "value": (-1,)}),
        ([], {"label": (-1,), "value": (-1,)}),
        ([classes(6), {"name": "of an older node"}], {"label": (-1,), "value": (-1,)}),
    ],
)
def test_outputs_are_all_that_any_of_the_models_may_answer(
    models: list[dict[str, Any]], outputs: dict[str, tuple[int, ...]]
) -> None:
    assert {each.name: each.shape for each in outputs_of(models)} == outputs
