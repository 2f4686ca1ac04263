"""What models answer, by tensors, as far as `/models` tells it: before any has answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from repertory.http.inference import LABEL, PROBABILITIES, VALUE
from repertory.http.tensors import BYTES, TensorSpec

_LABEL = TensorSpec(LABEL, BYTES, (-1,))
_VALUE = TensorSpec(VALUE, "FP64", (-1,))
# Where no model is on stage, that of another, or none that a node of an older version tells of.
_UNKNOWN = (_LABEL, _VALUE)


def outputs_of(models: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the outputs of models of a data type, each once: all that any of them may answer.

    A size is -1 where they differ in it.
    """
    tasks = {each.get("task") for each in models}
    if not tasks or None in tasks:
        return _UNKNOWN
    widths = {each["probabilities"] for each in models if "probabilities" in each}
    found = [_LABEL] if "classification" in tasks else []
    if widths:
        width = widths.pop() if len(widths) == 1 else -1
        found.append(TensorSpec(PROBABILITIES, "FP64", (-1, width)))
    return (*found, _VALUE) if "regression" in tasks else tuple(found)
