"""A cluster to try things out by hand: `python -m tests.cluster`; Ctrl-C ends it."""

import contextlib
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.cluster import cluster_of, data_types


def main() -> None:
    """Run three nodes until Ctrl-C."""
    with (
        TemporaryDirectory(prefix="rt-") as folder,
        cluster_of("abc", Path(folder), kinds=data_types(4)) as cluster,
    ):
        print(f"brokers: {cluster.brokers}; files: {folder}")
        for name, node in cluster.nodes.items():
            print(f"node {name}: {node.url}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
