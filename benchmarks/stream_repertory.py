"""Repertory as a contender: a whole node, as `repertory up` starts it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.http_repertory import free_ports
from benchmarks.stream_contender import Running
from benchmarks.stream_job import VARIABLE, Job, environment
from benchmarks.stream_workloads import ROOT

from repertory.actors.local_node import LocalNode
from repertory.http.caller import CallFailed, upload

_START_SECONDS = 60.0


def node_document(job: Job) -> dict[str, Any]:
    """Return the cluster.yaml of a node that does a job; all else is as it is by default."""
    return {
        "data_dir": f"{job.folder}/data",
        "http": {"port": free_ports(1)[0]},
        "kafka": {
            "bootstrap_servers": job.bootstrap,
            "group_id": job.group,
            "models_topic": f"{job.group}-models",
            "results_topic": job.results,
            "dead_letters_topic": job.dead_letters,
            "delivery": "exactly-once" if job.exactly_once else "at-least-once",
        },
        "data_types": {
            job.data_type: {
                "message": job.message,
                "features": list(job.features),
                "topics": [job.records],
                "value_format": job.value_format,
            }
        },
    }


@contextmanager
def start_node(job: Job) -> Iterator[Running]:
    """Start a node, and publish its model."""
    path, log = Path(job.folder) / "cluster.yaml", Path(job.folder) / "contender.log"
    path.write_text(json.dumps(node_document(job)))  # JSON is YAML
    variables = {VARIABLE: str(job.file), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    node = LocalNode(path, log=log)
    try:
        with environment(variables):
            node.start()
        running = Running(Path(job.folder), lambda: bool(node.processes()))
        _publish(node, job, running)
        yield running
    finally:
        try:
            node.stop()
        finally:
            node.wait_gone()


def _publish(node: LocalNode, job: Job, running: Running) -> None:
    try:
        node.wait_until(ready=False, timeout=_START_SECONDS)
        fields = {"dataType": job.data_type, "name": "benchmark", "description": ""}
        answer = asyncio.run(upload(node.url, Path(job.model), fields))
    except (RuntimeError, TimeoutError, CallFailed) as error:
        raise running.failed(str(error).partition("; the log ends")[0]) from error
    if answer.get("state") != "SERVING":
        raise running.failed(f"the model does not serve: {answer}")
