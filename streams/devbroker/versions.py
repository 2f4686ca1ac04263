"""Which versions of which requests the broker speaks.

Classic versions only, except where a flexible one says something that no classic version can:
ListOffsets 7 (the record with the latest timestamp), and TxnOffsetCommit 3 and OffsetFetch 7 (who
commits, so that a consumer that lost its partitions is shut out, and that whoever has them now
waits for transactions that are not ended: KIP-447).
"""

from typing import NamedTuple

from repertory.streams.devbroker.protocol import ApiKey

_NEVER = 1 << 15


class Versions(NamedTuple):
    """The oldest and newest version spoken, and the first that is flexible."""

    oldest: int
    newest: int
    flexible_from: int = _NEVER


SUPPORTED: dict[ApiKey, Versions] = {
    ApiKey.PRODUCE: Versions(3, 8),
    ApiKey.FETCH: Versions(4, 11),
    ApiKey.LIST_OFFSETS: Versions(1, 7, 6),
    ApiKey.METADATA: Versions(1, 8),
    ApiKey.OFFSET_COMMIT: Versions(2, 7),
    ApiKey.OFFSET_FETCH: Versions(1, 7, 6),
    ApiKey.FIND_COORDINATOR: Versions(0, 2),
    ApiKey.JOIN_GROUP: Versions(0, 5),
    ApiKey.HEARTBEAT: Versions(0, 3),
    ApiKey.LEAVE_GROUP: Versions(0, 3),
    ApiKey.SYNC_GROUP: Versions(0, 3),
    ApiKey.DESCRIBE_GROUPS: Versions(0, 4),
    ApiKey.LIST_GROUPS: Versions(0, 2),
    ApiKey.SASL_HANDSHAKE: Versions(0, 1),
    ApiKey.API_VERSIONS: Versions(0, 2),
    ApiKey.CREATE_TOPICS: Versions(0, 4),
    ApiKey.DELETE_TOPICS: Versions(0, 3),
    ApiKey.DELETE_RECORDS: Versions(0, 1),
    ApiKey.INIT_PRODUCER_ID: Versions(0, 1),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: Versions(2, 3),
    ApiKey.ADD_PARTITIONS_TO_TXN: Versions(0, 2),
    ApiKey.ADD_OFFSETS_TO_TXN: Versions(0, 2),
    ApiKey.END_TXN: Versions(0, 2),
    ApiKey.TXN_OFFSET_COMMIT: Versions(0, 3, 3),
    ApiKey.DESCRIBE_CONFIGS: Versions(0, 3),
    ApiKey.SASL_AUTHENTICATE: Versions(0, 1),
    ApiKey.CREATE_PARTITIONS: Versions(0, 1),
    ApiKey.DELETE_GROUPS: Versions(0, 1),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: Versions(0, 0),
}
