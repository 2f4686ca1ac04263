"""The messages and enums of tensorflow.proto. Not generated: they are in the private pool; their types are."""

from repertory.protos.pool import enums_in_pool, file_in_pool, messages_in_pool

DESCRIPTOR = file_in_pool("tensorflow.proto")
globals().update(messages_in_pool("tensorflow.proto"))
globals().update(enums_in_pool("tensorflow.proto"))
