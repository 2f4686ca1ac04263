"""kill -9 of the HTTP face under load: a client that tries again gets a result for every record."""

import json
import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until
from repertory.protos.winerecord_pb2 import WineRecord

RECORDS = [dict.fromkeys([f.name for f in WineRecord.DESCRIPTOR.fields][:11], 1.0)] * 20
BACK_SECONDS = 5.0


class Client:
    """Posts records one request after the other; what was refused or cut off is posted again."""

    def __init__(self, node: LocalNode) -> None:
        self._url = f"{node.url}/score/wine"
        self.requests = self.again = self.results = 0

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            self.requests += 1
            while not self._posted():
                self.again += 1
                stop.wait(0.02)

    def _posted(self) -> bool:
        request = urllib.request.Request(
            self._url, json.dumps(RECORDS).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                self.results += len(json.load(reply)["results"])
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def pid_of_http_face(node: LocalNode) -> int | None:
    for pid in node.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"repertory.http.face" in command:
            return pid
    return None


def test_every_record_is_answered_when_the_http_face_is_killed(
    local_node: Callable[..., LocalNode],
    publish: Callable[..., Any],
    wine_models: Path,
    pytestconfig: pytest.Config,
) -> None:
    chance, slowest = random.Random(2009), 0.0
    node = local_node()
    publish(node, wine_models / "05-mlp.onnx")
    node.wait_until(ready=True)
    client, stop = Client(node), Event()
    thread = Thread(target=client.run, args=(stop,))
    thread.start()
    try:
        for _ in range(int(pytestconfig.getoption("--kills"))):
            time.sleep(chance.uniform(0.3, 1.0))  # the moment is the input, drawn from the seed
            wait_until(lambda: pid_of_http_face(node), "the face runs")
            os.kill(pid_of_http_face(node) or 0, signal.SIGKILL)
            killed, before = time.monotonic(), client.results
            wait_until(lambda before=before: client.results > before, "it answers again")  # type: ignore[misc]
            slowest = max(slowest, time.monotonic() - killed)
    finally:
        stop.set()
        thread.join(timeout=30)
    print(f"slowest return {slowest:.2f} s; posted again {client.again}")
    assert client.results == client.requests * len(RECORDS)
    assert slowest < BACK_SECONDS
