"""Where models, their log and what they were given are kept."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from repertory.config.values import Section, public_key


class Journal(Section):
    """Where the log of model updates lives."""

    kind: Literal["sqlite", "kafka"] = "sqlite"
    """`sqlite`: a file of the node. `kafka`: the topic `kafka.models_topic` (one partition)."""


class Decoy(Section):
    """Where the inputs go that policies with a `decoy` archive. A policy decides whether they do."""

    url: str | None = None
    """A folder for Parquet files, or any fsspec URL (`s3://bucket/decoy`); `DATA_DIR/NODE/archive`
    if neither it nor `topic` is set. Needs `pip install 'repertory[parquet]'`."""
    topic: str | None = None
    """A Kafka topic, instead of Parquet files."""
    spool_mb: int = Field(default=1024, ge=1)
    """What waits for the archive on the node's disk, MiB of each data type; when that is full,
    inputs are served, and not archived."""

    @model_validator(mode="after")
    def _one_archive(self) -> Self:
        if self.url is not None and self.topic is not None:
            raise ValueError("url and topic are both set; an archive is one of them")
        return self


class Models(Section):
    """What the green room allows."""

    max_mb: int = Field(default=256, ge=1)
    """Largest model content, MiB."""
    roots: tuple[Path, ...] = ()
    """Folders below which a descriptor's `location` may lie. Empty: no location is accepted."""
    trusted_keys: tuple[Annotated[str, AfterValidator(public_key)], ...] = ()
    """Public keys of those who may sign models, as `repertory sign --new-key` prints them. Empty: no
    model needs a signature. Otherwise each one needs one by one of these keys, or is rejected."""
    check_seconds: float = Field(default=30.0, gt=0)
    """Wall-clock limit of the check of one model."""
    check_memory_mb: int = Field(default=6144, ge=256)
    """Address-space limit of the process that checks a model, MiB."""
    keep_versions: int = Field(default=10, ge=1)
    """Prepared versions of a data type that stay on disk, for roll back at once."""


class Snapshots(Section):
    """Where snapshots are shared among hosts. Each node keeps its own on disk in any case."""

    url: str | None = None
    """A folder that all hosts see, or any fsspec URL (`s3://bucket/snapshots`): a node that gains a
    data type takes the newest snapshot from there. Not needed: the journal has everything."""
