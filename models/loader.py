"""From a prepared model to a loaded one, on the engine that it needs.

Engines are imported when a model asks for them: a serving actor of ONNX models imports
onnxruntime, and never TensorFlow or a JVM.
"""

import numpy as np

from repertory.models.model import Columns, Engine, Model, PreparedModel


def load_model(prepared: PreparedModel) -> Model:
    """Load a prepared model. Blocks; raises ModelRejected when its engine refuses it."""
    if prepared.engine is Engine.ONNX:
        from repertory.models.onnx_model import OnnxModel

        return OnnxModel(prepared)
    from repertory.models.remote_model import RemoteEngineModel

    return RemoteEngineModel(prepared)


def import_engine() -> None:
    """Import what most models need, ahead of the first one: it takes a good part of a second."""
    import repertory.models.onnx_model  # noqa: F401


def warm(model: Model) -> None:
    """Score one batch, so that the first real one does not pay for what engines do lazily.

    Its records may fail: that they are answered is enough. Raises ModelBroken.
    """
    names = {feature.name for tensor in model.signature.tensors for feature in tensor.features}
    categories = {
        feature.name: feature.categories[0]
        for tensor in model.signature.tensors
        for feature in tensor.features
        if feature.categories
    }
    count = 2
    columns = {}
    for name in names:
        category = categories.get(name)
        columns[name] = np.ones(count) if category is None else np.full(count, category, object)
    model.score(Columns(count, columns))
