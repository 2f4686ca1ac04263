"""What a record is, and how it is served."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from repertory.config.values import Name, Section, distinct, message_class

Delivery = Literal["at-least-once", "exactly-once"]
ValueFormat = Literal["protobuf", "json"]


class SlotDelay(Section):
    """Slowness on purpose, of the model in a slot."""

    median_ms: float = Field(default=0.0, ge=0)
    """Half of all batches are answered so much later, or less."""
    sigma: float = Field(default=0.0, ge=0, le=10)
    """How heavy the tail is: the standard deviation of the delay's logarithm; 0: none."""
    most_ms: float = Field(default=10_000.0, ge=0)
    """No batch is held up for longer."""
    seed: int = 0
    """Where the series of delays begins."""


class DataType(Section):
    """What a record is, and how records of this type are served."""

    message: Annotated[str, AfterValidator(message_class)]
    """The protobuf message of a record: `module:Class` of a generated module."""
    features: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(min_length=1)
    """The record's fields that models see, in the order in which unnamed model inputs take them.
    A repeated field of numbers is declared with its width: `pixels[784]`."""
    topics: tuple[str, ...] = ()
    """Kafka topics whose records are of this type."""
    value_format: ValueFormat = "protobuf"
    """What a record's value is on Kafka: `protobuf`, its message, or `json`, an object of its fields."""
    delivery: Delivery | None = None
    """What is promised for the records of `topics`; `kafka.delivery` if not set."""
    explain: bool = False
    """Whether results on Kafka hold each slot's own answer, where a policy chooses among several."""
    required: bool = True
    """Whether the node is ready only when a model serves this type."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Nodes that serve this type at the same time, as far as there are as many."""
    needs: dict[Name, bool | str] = {}
    """Capabilities that a node must have to serve this type, such as `gpu: true`."""
    max_batch: int = Field(default=1024, ge=1, le=65536)
    """Records scored together at most."""
    max_delay_ms: float = Field(default=5.0, ge=0)
    """How long a record waits for others to share its batch, while the actor is busy."""
    batches_in_flight: int = Field(default=4, ge=1, le=1024)
    """Batches that the Kafka face has scored at the same time, up to `credit`."""
    credit: int = Field(default=64, ge=1, le=4096)
    """Batches of this type that one connection may have in flight."""
    delays: dict[str, SlotDelay] = {}
    """For trying out policies: makes the models in slots slow on purpose (`median_ms`, `sigma`,
    `most_ms`, `seed`)."""
