"""Saves shared snapshots of ever higher positions at argv[1] until killed, or up to argv[2]."""

import sys
from itertools import count

from repertory.journal.shared_snapshots import SharedSnapshots
from repertory.journal.snapshot import Snapshot

store = SharedSnapshots(sys.argv[1])
last = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
for number in count(1):
    store.save(
        Snapshot(
            data_type="wine",
            name="forest",
            description="",
            model_type="ONNX",
            version=number,
            sha256=f"{number:064x}"[::-1],
            position=number,
            since_ms=number,
            files={"model.onnx": bytes([number % 256]) * 100_000},
        )
    )
    print(number, flush=True)
    if number == last:
        break
