"""What a model answers to probe records, before anything is known of its outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import ModelRejected
from repertory.models.engine_model import EngineFailed
from repertory.models.inputs import Inputs, Tensors
from repertory.models.model import InputTensor, Signature, Task
from repertory.models.outputs import Outputs
from repertory.models.probes import PROBES, probe_columns

Run = Callable[[Tensors, list[str]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Trial:
    """The probe records that a model answers, and its answers when each came alone."""

    feed: Tensors
    outputs: Outputs
    count: int


def try_alone(run: Run, tensors: tuple[InputTensor, ...], names: list[str]) -> Trial:
    """Score probe records one by one.

    Raises ModelRejected when fewer than two are answered, because then nothing can be told, and
    when an output is not one row for one record.
    """
    signature = Signature(Task.REGRESSION, tensors)  # as far as it is known: it feeds the probes
    feed = Inputs(signature).feed(probe_columns(signature)).tensors
    answers: dict[int, Mapping[str, NDArray[Any]]] = {}
    failure = ""
    for row in range(PROBES):
        try:
            one = {name: tensor[row : row + 1] for name, tensor in feed.items()}
            answers[row] = run(one, names)
        except EngineFailed as error:
            failure = str(error)
    if len(answers) < 2:
        raise ModelRejected(f"the model answers none of {PROBES} probe records: {failure}")
    outputs = {name: _stacked(name, [a[name] for a in answers.values()]) for name in names}
    rows = list(answers)
    return Trial({name: tensor[rows] for name, tensor in feed.items()}, outputs, len(rows))


def _stacked(name: str, answers: list[NDArray[Any]]) -> NDArray[Any]:
    shapes = {answer.shape for answer in answers}
    if len(shapes) > 1 or next(iter(shapes))[:1] != (1,):
        found = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise ModelRejected(f"output {name!r} has shape {found} for one record; [1, …] is due")
    return np.concatenate(answers)
