"""What tables say to people."""

import pytest
from tests.http.scripted import slot_answer

from repertory.cli_tables import moment, show_status


def test_the_status_says_why_a_node_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    troubles = {"streams": ["no broker answers at 127.0.0.1:9092", "no topic 'wine'"]}
    status = {"ready": False, "node": "a", "troubles": troubles}
    show_status(status, {"wine": {"error": "no model serves 'wine' yet; publish one"}})
    assert capsys.readouterr().out.split("\n") == [
        "node a is not ready",
        "no broker answers at 127.0.0.1:9092",
        "no topic 'wine'",
        "wine: no model serves 'wine' yet; publish one",
        "",
    ]


def test_the_status_says_which_figures_are_older(capsys: pytest.CaptureFixture[str]) -> None:
    status = {"ready": True, "node": "a", "troubles": {}}
    state = {**slot_answer("forest", 3), "stale": True, "staleSince": 1795409732596}
    show_status(status, {"wine": state})
    since = moment(1795409732596)
    last = f"wine: not all nodes can be reached since {since}; what they did since is not counted"
    assert capsys.readouterr().out.splitlines()[-1] == last
