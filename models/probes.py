"""Records that a model is tried on before it may serve: most bad models fail at their first call."""

import numpy as np
from numpy.typing import NDArray

from repertory.errors import ModelRejected
from repertory.models.model import Columns, InputFeature, Interval, Model, Signature

# Of each model; enough to meet several branches of a tree, few enough for a slow engine.
PROBES = 24

_SEED = 20090101
_SCALES = np.repeat([0.0, 1.0, 1.0, 10.0, 100.0, 1000.0], PROBES // 6)


def probe_columns(signature: Signature) -> Columns:
    """Return PROBES records that a model declares valid: zeros, and ever larger values.

    The same for the same signature, on every machine.
    """
    rng = np.random.default_rng(_SEED)
    features = {
        feature.name: _probes(feature, tensor.dtype, rng)
        for tensor in signature.tensors
        for feature in tensor.features
    }
    return Columns(PROBES, features)


def refuse_silent(model: Model) -> None:
    """Refuse a model that answers none of its probes. Raises ModelRejected, ModelBroken."""
    outcomes = model.score(probe_columns(model.signature))
    if len(outcomes.failures) == PROBES:
        reason = outcomes.failures[0].message
        raise ModelRejected(f"the model answers none of {PROBES} probe records: {reason}")


def _probes(
    feature: InputFeature, dtype: str, rng: np.random.Generator
) -> NDArray[np.float64] | NDArray[np.object_]:
    if feature.categories or dtype == "object":
        names = feature.categories or ("", "a", "b")
        column = np.empty(PROBES, np.object_)
        column[:] = [names[i] for i in rng.integers(0, len(names), PROBES)]
        return column
    if feature.intervals:
        return _within(feature.intervals[0], rng)
    values: NDArray[np.float64] = rng.random(PROBES) * _SCALES
    if dtype == "bool":
        return (values > 1).astype(np.float64)
    if np.dtype(dtype).kind != "f":
        values = np.minimum(np.floor(values), 100)
    return values


def _within(interval: Interval, rng: np.random.Generator) -> NDArray[np.float64]:
    low = interval.low if interval.low is not None else (interval.high or 0.0) - 1000.0
    high = interval.high if interval.high is not None else low + 1000.0
    values: NDArray[np.float64] = low + (high - low) * rng.uniform(0.001, 0.999, PROBES)
    return values
