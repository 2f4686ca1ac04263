"""Figures of several processes of the face, any of which tells them for all."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector


class SharedFigures(Collector):
    """Counters in files that the processes map, and the processes themselves.

    What one has counted stays when it dies, and its successor goes on from there: a sum never falls.
    Made once in a process, before what is to be counted. The folder holds two or three files for
    each process, of a MiB, which are empty for the most part.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        (folder / f"{worker}.pid").write_text(str(os.getpid()))
        self._folder = folder
        self._counted = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def registry(self) -> CollectorRegistry:
        """Return the figures of all processes."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return registry

    def collect(self) -> Iterable[Metric]:
        """Return the sums of what they counted, and of each process, by `worker`, how it does."""
        return [*self._counted.collect(), *self._processes()]  # type: ignore[no-untyped-call]

    def _processes(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for file in sorted(self._folder.glob("*.pid")):
            # Of one that has just died there is nothing.
            for each in ProcessCollector(pid=file.read_text, registry=None).collect():
                family = families.setdefault(
                    each.name, Metric(each.name, each.documentation, each.type)
                )
                for sample in each.samples:
                    labels = {**sample.labels, "worker": file.stem}
                    family.add_sample(sample.name, labels, sample.value)
        return families.values()
