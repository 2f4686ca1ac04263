"""Python's search for cycles of garbage, kept from what stays for good."""

import gc

# A request leaves some hundred objects behind, none of them in a cycle.
COLLECT_AFTER_OBJECTS = 10_000


def spare_what_is_here(after: int = COLLECT_AFTER_OBJECTS) -> None:
    """Have the collector pass over all there is by now, and look for cycles after so many objects.

    To be called when a process has come up. To go through all that was imported took 50 ms, at
    which everything stood still, each second of much work.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(after)
