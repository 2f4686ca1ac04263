"""What the programs of the peers share: from records to results, as a user of them would write it.

Runs in the peers' environments: no more of Repertory than its generated messages.
"""

import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import orjson
from benchmarks.stream_job import Job
from protos.results_pb2 import ModelRef, ScoredRecord  # noqa: TID251 - the package is not here
from protos.winerecord_pb2 import WineRecord  # noqa: TID251

_LABELS = {"wine": [str(quality) for quality in range(3, 9)], "crayfish": list("0123456789")}


class Incoming(NamedTuple):
    """A record, and where it was read."""

    value: bytes
    partition: int
    offset: int
    timestamp_ms: int


class Scorer:
    """Scores records of one data type, and encodes their results."""

    def __init__(self, job: Job) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # as Repertory has it
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            job.model, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._json = job.value_format == "json"
        self._numbers = attrgetter(*job.features) if not self._json else None
        self._labels = _LABELS[job.data_type]
        self._result = ScoredRecord(
            data_type=job.data_type,
            model=ModelRef(name="benchmark", version=1, sha256=job.model_sha256),
        )
        self._result.source.topic = job.records
        for label in self._labels:
            self._result.probabilities.add(label=label)
        self.headers: list[tuple[str, bytes]] = [
            ("data-type", job.data_type.encode()),
            ("model", b"benchmark"),
            ("model-version", b"1"),
            ("model-sha256", job.model_sha256.encode()),
        ]

    def results(self, records: Sequence[Incoming]) -> list[bytes]:
        """Return a serialised ScoredRecord for each record; they are scored together."""
        received = int(time.time() * 1000)
        tensor = np.array(self._decoded(records), np.float32)
        probabilities = self._session.run(["probabilities"], {self._input: tensor})[0]
        chosen = probabilities.argmax(axis=1).tolist()
        result, scored = self._result, int(time.time() * 1000)
        fields, source = list(result.probabilities), result.source
        result.received_ms, result.scored_ms = received, scored
        values = []
        for record, best, row in zip(records, chosen, probabilities.tolist(), strict=True):
            result.label = self._labels[best]
            for field, probability in zip(fields, row, strict=True):
                field.probability = probability
            source.partition, source.offset = record.partition, record.offset
            source.timestamp_ms = record.timestamp_ms
            result.record = record.value
            values.append(result.SerializeToString())
        return values

    def _decoded(self, records: Sequence[Incoming]) -> list[Any]:
        if self._numbers is None:
            return [orjson.loads(record.value)["pixels"] for record in records]
        return [self._numbers(WineRecord.FromString(record.value)) for record in records]
