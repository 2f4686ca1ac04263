"""MLServer: a runtime of one's own, since it has none for ONNX (`mlserver start FOLDER`)."""

import numpy as np
from benchmarks.peers.wine_model import WineModel
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class WineRuntime(MLModel):
    """Scores wines."""

    async def load(self) -> bool:
        """Load the model."""
        self._wines = WineModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score the wines of a request, which may be a batch of requests."""
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        labels, probabilities = self._wines.run(rows.astype(np.float32, copy=False))
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels.tolist()),
                NumpyCodec.encode_output("probabilities", probabilities),
            ],
        )
