"""Which handler answers which request."""

from repertory.streams.devbroker.handlers.configs import alter_configs, describe_configs
from repertory.streams.devbroker.handlers.fetch import fetch
from repertory.streams.devbroker.handlers.groups import (
    delete_groups,
    describe_groups,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    sync_group,
)
from repertory.streams.devbroker.handlers.list_offsets import list_offsets, offset_for_leader_epoch
from repertory.streams.devbroker.handlers.login import sasl_authenticate, sasl_handshake
from repertory.streams.devbroker.handlers.metadata import api_versions, find_coordinator, metadata
from repertory.streams.devbroker.handlers.offsets import (
    offset_commit,
    offset_fetch,
    txn_offset_commit,
)
from repertory.streams.devbroker.handlers.produce import produce
from repertory.streams.devbroker.handlers.topics import (
    create_partitions,
    create_topics,
    delete_records,
    delete_topics,
)
from repertory.streams.devbroker.handlers.transactions import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    end_txn,
    init_producer_id,
)
from repertory.streams.devbroker.protocol import ApiKey
from repertory.streams.devbroker.request import Handler

HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.PRODUCE: produce,
    ApiKey.FETCH: fetch,
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.METADATA: metadata,
    ApiKey.OFFSET_COMMIT: offset_commit,
    ApiKey.OFFSET_FETCH: offset_fetch,
    ApiKey.FIND_COORDINATOR: find_coordinator,
    ApiKey.JOIN_GROUP: join_group,
    ApiKey.HEARTBEAT: heartbeat,
    ApiKey.LEAVE_GROUP: leave_group,
    ApiKey.SYNC_GROUP: sync_group,
    ApiKey.DESCRIBE_GROUPS: describe_groups,
    ApiKey.LIST_GROUPS: list_groups,
    ApiKey.SASL_HANDSHAKE: sasl_handshake,
    ApiKey.API_VERSIONS: api_versions,
    ApiKey.CREATE_TOPICS: create_topics,
    ApiKey.DELETE_TOPICS: delete_topics,
    ApiKey.DELETE_RECORDS: delete_records,
    ApiKey.INIT_PRODUCER_ID: init_producer_id,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: offset_for_leader_epoch,
    ApiKey.ADD_PARTITIONS_TO_TXN: add_partitions_to_txn,
    ApiKey.ADD_OFFSETS_TO_TXN: add_offsets_to_txn,
    ApiKey.END_TXN: end_txn,
    ApiKey.TXN_OFFSET_COMMIT: txn_offset_commit,
    ApiKey.DESCRIBE_CONFIGS: describe_configs,
    ApiKey.SASL_AUTHENTICATE: sasl_authenticate,
    ApiKey.CREATE_PARTITIONS: create_partitions,
    ApiKey.DELETE_GROUPS: delete_groups,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: alter_configs,
}
