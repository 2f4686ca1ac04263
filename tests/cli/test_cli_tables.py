"""What tables say to people."""

import pytest

from repertory.cli_tables import show_status


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
