"""The time of day, as everything in the journal is stamped."""

import time


def epoch_ms() -> int:
    """Return the milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
