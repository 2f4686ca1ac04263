"""A record in hand."""

from dataclasses import dataclass

from repertory.streams.claims import Claim


@dataclass(slots=True, eq=False)
class Record:
    """One record read from Kafka. Its topic and partition are those of its claim."""

    claim: Claim
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int  # its own; 0 when it has none
    received_ms: int
