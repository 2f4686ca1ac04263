"""KServe: a custom predictor on its ModelServer, REST and gRPC. It batches in a sidecar only."""

import numpy as np
from benchmarks.peers.wine_model import GRPC_PORT, PORT, WineModel
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class WinePredictor(Model):
    """Scores wines."""

    def load(self) -> bool:
        """Load the model."""
        self._wines = WineModel()
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> InferResponse:
        """Score the wines of a request."""
        rows = payload.inputs[0].as_numpy()
        labels, probabilities = self._wines.run(rows.astype(np.float32, copy=False))
        label = InferOutput("label", list(labels.shape), "BYTES")
        label.set_data_from_numpy(labels, binary_data=payload.from_grpc)
        values = InferOutput("probabilities", list(probabilities.shape), "FP32")
        values.set_data_from_numpy(probabilities, binary_data=payload.from_grpc)
        return InferResponse(payload.id or generate_uuid(), self.name, [label, values])


if __name__ == "__main__":
    predictor = WinePredictor("wine")
    predictor.load()
    ModelServer(http_port=PORT, grpc_port=GRPC_PORT, enable_latency_logging=False).start(
        [predictor]
    )
