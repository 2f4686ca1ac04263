"""What contenders find: a broker, records in stock, the model in the forms that they load."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stream_broker import Broker, Progress, fill
from benchmarks.stream_contender import Contender
from benchmarks.stream_job import Job
from benchmarks.stream_workloads import Workload

from repertory.config import DataType, Models
from repertory.models.green_room import GreenRoom
from repertory.models.prepared import save_prepared
from repertory.models.schema import schema_of
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor


class Stock:
    """A topic with records of a workload, which all contenders read."""

    def __init__(self, broker: Broker, workload: Workload) -> None:
        self._broker = broker
        self._records = workload.records()
        self.topic = f"{workload.name}-stock"
        self.count = 0
        broker.create(self.topic)

    def have(self, count: int, progress: Progress) -> None:
        """Add what is missing to `count` records."""
        if count > self.count:
            fill(self._broker.bootstrap, self.topic, self._records, count - self.count, progress)
            self.count = count


def prepare(workload: Workload, folder: Path) -> Path:
    """Send a workload's model through the green room; return the folder where it is then."""
    data_type = DataType(message=workload.message, features=workload.features)
    room = GreenRoom(Models(), {workload.name: schema_of(workload.name, data_type)})
    descriptor = ModelDescriptor(
        name="benchmark",
        dataType=workload.name,
        modeltype=ModelDescriptor.ONNX,
        data=workload.model.read_bytes(),
    )
    try:
        save_prepared(room.prepare(descriptor.SerializeToString()).prepared, folder)
    finally:
        room.close()
    return folder


@contextmanager
def job_for(
    contender: Contender, workload: Workload, *, broker: Broker, records: str, folder: Path
) -> Iterator[Job]:
    """Give a contender topics of its own for what it writes; at the end they are deleted."""
    name = f"{workload.name}-{contender.name}-{uuid.uuid4().hex[:8]}"
    job = Job(
        bootstrap=broker.bootstrap,
        records=records,
        results=f"{name}-results",
        dead_letters=f"{name}-dead",
        group=name,
        data_type=workload.name,
        message=workload.message,
        features=workload.features,
        value_format=workload.value_format,
        model=str(workload.model),
        model_sha256=workload.model_sha256,
        prepared=str(folder / f"{workload.name}-prepared"),
        exactly_once=contender.exactly_once,
        folder=str(folder / name),
    )
    job.write()
    broker.create(job.results, job.dead_letters)
    try:
        yield job
    finally:
        broker.delete(job.results, job.dead_letters, f"{name}-models")
