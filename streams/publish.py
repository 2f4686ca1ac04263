"""Publishing a model, or a policy, over Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.actors.policies.settings import read_settings
from repertory.errors import InvalidRequest, Unavailable
from repertory.journal.kafka import MESSAGE_TYPE, POLICY
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.policy_pb2 import Policy

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


def publish_model(  # noqa: PLR0913  as many as a descriptor has fields
    file: Path,
    *,
    bootstrap_servers: str,
    topic: str = "models",
    data_type: str,
    name: str | None = None,
    description: str | None = None,
    model_type: str | None = None,
    signature: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """Publish the model in `file` as a ModelDescriptor; return its partition and offset.

    Blocks until all replicas in sync have it. The model type is told from the file's name if it is
    None. `signature` is what `repertory sign` wrote. `properties` are further librdkafka
    properties. Raises InvalidRequest for a type that is not known, and Unavailable when the brokers
    do not take it.
    """
    descriptor = ModelDescriptor(
        name=name or file.name.partition(".")[0],
        description=description or "",
        dataType=data_type,
        modeltype=_model_type(file, model_type),
        data=file.read_bytes(),
        signature=signature or "",
    )
    message = _Message(str(file), data_type, descriptor.SerializeToString())
    return _produce(message, topic, bootstrap_servers, properties or {})


def publish_policy(
    data_type: str,
    settings_json: str,
    *,
    bootstrap_servers: str,
    topic: str = "models",
    description: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """Publish a policy of a data type; return its partition and offset.

    Empty settings say that there is to be no policy any more. Blocks, and raises Unavailable, as
    `publish_model` does. Raises InvalidRequest for settings that are no policy's; whether the
    models on stage can follow it is found out later.
    """
    if settings_json:
        read_settings(settings_json)
    policy = Policy(dataType=data_type, description=description or "", settings=settings_json)
    message = _Message(
        f"the policy of {data_type!r}",
        data_type,
        policy.SerializeToString(),
        headers=((MESSAGE_TYPE, POLICY.encode()),),
    )
    return _produce(message, topic, bootstrap_servers, properties or {})


@dataclass(frozen=True, slots=True)
class _Message:
    """What is published; `title` is what errors call it."""

    title: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def _produce(
    message: _Message, topic: str, bootstrap_servers: str, properties: Mapping[str, Any]
) -> tuple[int, int]:
    producer = Producer(
        {
            "log_level": 2,
            "message.timeout.ms": PATIENCE_MS,
            **properties,
            "bootstrap.servers": bootstrap_servers,
            "message.max.bytes": LARGEST_MESSAGE,
            "enable.idempotence": True,
        }
    )
    reports: list[tuple[KafkaError | None, Message]] = []
    try:
        producer.produce(
            topic,
            message.value,
            message.key,
            headers=list(message.headers),
            on_delivery=lambda *report: reports.append(report),
        )
    except KafkaException as error:
        raise Unavailable(f"{message.title} cannot be published: {error.args[0].str()}") from error
    while not reports:  # there is one at the latest when the patience is over
        producer.poll(0.1)
    failure, sent = reports[0]
    if failure is not None:
        raise Unavailable(
            f"{message.title} was not published to {topic!r} at {bootstrap_servers}:"
            f" {failure.str()}"
        )
    return sent.partition() or 0, sent.offset() or 0


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
