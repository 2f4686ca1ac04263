"""The messages of tensorflow_serving.proto. Not generated: they are in the private pool; their types are."""

from repertory.protos.pool import file_in_pool, messages_in_pool

DESCRIPTOR = file_in_pool("tensorflow_serving.proto")
globals().update(messages_in_pool("tensorflow_serving.proto"))
