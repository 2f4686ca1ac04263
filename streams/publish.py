"""Publishing a model over Kafka."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.errors import InvalidRequest, Unavailable
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

PATIENCE_MS = 30_000
LARGEST_MESSAGE = 1_000_000_000  # librdkafka's limit

_TYPES = {
    ".onnx": ModelDescriptor.ONNX,
    ".pmml": ModelDescriptor.PMML,
    ".xml": ModelDescriptor.PMML,
    ".pb": ModelDescriptor.TENSORFLOW,
    ".zip": ModelDescriptor.TENSORFLOWSAVED,
    ".tgz": ModelDescriptor.TENSORFLOWSAVED,
    ".gz": ModelDescriptor.TENSORFLOWSAVED,
}


def publish_model(
    file: Path,
    *,
    bootstrap_servers: str,
    topic: str = "models",
    data_type: str,
    name: str | None = None,
    description: str | None = None,
    model_type: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """Publish the model in `file` as a ModelDescriptor; return its partition and offset.

    Blocks until all replicas in sync have it. The model type is told from the file's name if it is
    None. `properties` are further librdkafka properties. Raises InvalidRequest for a type that is
    not known, and Unavailable when the brokers do not take it.
    """
    descriptor = ModelDescriptor(
        name=name or file.name.partition(".")[0],
        description=description or "",
        dataType=data_type,
        modeltype=_model_type(file, model_type),
        data=file.read_bytes(),
    )
    value = descriptor.SerializeToString()
    producer = Producer(
        {
            "log_level": 2,
            "message.timeout.ms": PATIENCE_MS,
            **(properties or {}),
            "bootstrap.servers": bootstrap_servers,
            "message.max.bytes": LARGEST_MESSAGE,
            "enable.idempotence": True,
        }
    )
    reports: list[tuple[KafkaError | None, Message]] = []
    try:
        producer.produce(
            topic, value, data_type, on_delivery=lambda *report: reports.append(report)
        )
    except KafkaException as error:
        raise Unavailable(f"{file} cannot be published: {error.args[0].str()}") from error
    while not reports:  # there is one at the latest when the patience is over
        producer.poll(0.1)
    failure, message = reports[0]
    if failure is not None:
        raise Unavailable(
            f"{file} was not published to {topic!r} at {bootstrap_servers}: {failure.str()}"
        )
    return message.partition() or 0, message.offset() or 0


def _model_type(file: Path, name: str | None) -> ModelDescriptor.ModelType:
    if name is not None:
        known = list(ModelDescriptor.ModelType.keys())
        if name.upper() not in known:
            raise InvalidRequest(f"no model type {name!r}; there are: {', '.join(known)}")
        return cast(ModelDescriptor.ModelType, ModelDescriptor.ModelType.Value(name.upper()))
    found = _TYPES.get(file.suffix.lower())
    if found is None:
        raise InvalidRequest(
            f"{file.name}: the model's type is not told by the name (known endings are"
            f" {', '.join(_TYPES)}); say it"
        )
    return found
