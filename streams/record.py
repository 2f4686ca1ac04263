"""A record in hand."""

from dataclasses import dataclass

from repertory.streams.claims import Claim

Headers = list[tuple[str, str | bytes | None]]  # as confluent_kafka has it


@dataclass(slots=True, eq=False)
class Record:
    """One record read from Kafka. Its topic and partition are those of its claim."""

    claim: Claim
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int  # its own; 0 when it has none
    received_ms: int
    headers: Headers | None = None

    @property
    def size(self) -> int:
        """Bytes of its value."""
        return len(self.value or b"")
