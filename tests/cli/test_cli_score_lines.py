"""`repertory score` where a policy chooses, against a face that answers what the test says."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

MODEL = {"name": "forest", "version": 3, "sha256": "f" * 64}
POLICY = {"name": "deadline", "version": 7, "slackMs": 1.5, "slots": []}
CHOSEN = {
    "label": "5",
    "slot": "tree",
    "model": {"name": "tree", "version": 5},
    "fallback": True,
}
FAILED = {"error": "no", "code": "scoring_failed"}


class Face(HTTPServer):
    """Answers each request with `answer`, and keeps the paths."""

    answer: Any = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Of the face's requests."""

    server: Face

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        body = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def face() -> Iterator[Face]:
    """A face."""
    with Face() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def lines(face: Face, repertory: Callable[..., Any], *options: str) -> list[Any]:
    """Score two records, and return what is printed."""
    url = f"http://127.0.0.1:{face.server_port}"
    ended = repertory("score", "wine", "-", *options, stdin="pH\n1\n2\n", REPERTORY_URL=url)
    return [json.loads(line) for line in ended.out.splitlines()]


def test_a_line_says_how_the_policy_chose(face: Face, repertory: Callable[..., Any]) -> None:
    face.answer = {"model": MODEL, "policy": POLICY, "results": [CHOSEN, FAILED]}
    policy = {"name": "deadline", "version": 7}
    assert lines(face, repertory) == [{"policy": policy, **CHOSEN}, {"policy": policy, **FAILED}]
    assert face.paths == ["/score/wine"]


def test_without_a_policy_a_line_has_the_one_model(
    face: Face, repertory: Callable[..., Any]
) -> None:
    face.answer = {"model": MODEL, "results": [{"label": "5"}, FAILED]}
    assert lines(face, repertory) == [{"model": MODEL, "label": "5"}, {"model": MODEL, **FAILED}]


def test_explanations_are_asked_for(face: Face, repertory: Callable[..., Any]) -> None:
    said = [{"slot": "tree", "version": 5, "label": "5"}]
    result = {**CHOSEN, "answers": said}
    face.answer = {"model": MODEL, "policy": POLICY, "results": [result, result]}
    assert [line["answers"] for line in lines(face, repertory, "--explain")] == [said, said]
    assert face.paths == ["/score/wine?explain=true"]
