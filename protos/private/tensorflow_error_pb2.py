"""The enum of tensorflow_error.proto. Not generated: it is in the private pool; its type is."""

from repertory.protos.pool import enums_in_pool, file_in_pool

DESCRIPTOR = file_in_pool("tensorflow_error.proto")
globals().update(enums_in_pool("tensorflow_error.proto"))
