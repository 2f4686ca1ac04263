"""Serve examples/wine with the command that is installed, as a user would; ends non-zero if not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

REPERTORY = str(Path(sys.executable).with_name("repertory"))
MODELS = {"02-random-forest.onnx": "SERVING", "01-decision-tree.pmml": "SERVING"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def repertory(*arguments: str) -> str:
    done = subprocess.run(
        [REPERTORY, *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    return done.stdout


def wait_for_face(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nobody listened: {Path('node.log').read_text()[-2000:]}")


def main() -> None:
    port = free_port()
    os.environ["REPERTORY_HTTP__PORT"] = str(port)
    os.environ["REPERTORY_URL"] = f"http://127.0.0.1:{port}"
    with Path("node.log").open("wb") as log:
        node = subprocess.Popen([REPERTORY, "up"], stdout=log, stderr=log)
    try:
        wait_for_face(port)
        for model, state in MODELS.items():
            assert state in repertory("publish", "wine", f"examples/wine/models/{model}")
            wines = "examples/wine/data/winequality-red.csv"
            scored = repertory("score", "wine", wines, "--limit", "5").splitlines()
            assert len(scored) == 5, scored
            assert all("label" in json.loads(line) for line in scored), scored
        state = json.loads(repertory("status", "--json"))["states"]["wine"]
        assert state["usage"] == 5, state
    finally:
        node.send_signal(signal.SIGTERM)
        code = node.wait(timeout=15)
    assert code == 0, f"the node ended with {code}"
    print("the wheel serves examples/wine")


if __name__ == "__main__":
    main()
