"""Publishes models over HTTP, one after the other, while something happens to the cluster."""

import itertools
import threading
from http.client import HTTPException
from typing import Self

from tests.cluster.cluster import Cluster


class Publisher:
    """A thread that publishes a model of each data type in turn, on one node after the other.

    What fails is tried on the next node; it may then be published twice. A context manager.
    """

    def __init__(self, cluster: Cluster, *, every: float) -> None:
        self._cluster = cluster
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.versions: dict[str, int] = {}  # the newest by data type
        self.published = self.failures = 0

    def _run(self) -> None:
        nodes = itertools.cycle(self._cluster.running)
        for data_type in itertools.cycle(self._cluster.kinds):
            while not self._stop.wait(self._every):
                try:
                    answer = next(nodes).publish(data_type, wait=False)
                    self.versions[data_type] = answer["version"]
                    self.published += 1
                    break
                except (OSError, HTTPException):
                    self.failures += 1
            if self._stop.is_set():
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
