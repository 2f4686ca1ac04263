"""What the terminal shows of policies, and of how models differ."""

import re

import pytest
from click.testing import CliRunner
from tests.http.scripted import comparison_answer, policy_answer, slot_answer

from repertory.cli_compare import compare, show_comparison
from repertory.cli_tables import show_status

Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[str]:
    return [re.sub(" {2,}", "|", line.strip()) for line in capsys.readouterr().out.split("\n")]


@pytest.fixture
def status(capsys: Capture) -> list[str]:
    """The lines of `repertory status`, cells apart by |."""
    slots = {"forest": slot_answer("forest", 3), "mlp": {"error": "no model serves 'wine/mlp' yet"}}
    wine = {**policy_answer(), **slot_answer("forest", 3), "slots": slots}
    plain = slot_answer("lager", 5)
    show_status({"ready": True, "node": "a", "troubles": {}}, {"wine": wine, "beer": plain})
    return lines(capsys)


def test_the_status_has_a_line_for_each_model_on_a_slot(status: list[str]) -> None:
    assert status[1] == "data type|model|version|since|usage|errors|p50 ms|p99 ms"
    assert [line.split("|")[:3] for line in status[2:4]] == [
        ["wine/forest", "forest", "3"],
        ["beer", "lager", "5"],
    ]
    assert status[-2] == "wine/mlp: no model serves 'wine/mlp' yet"


def test_the_status_has_a_line_for_each_policy(status: list[str]) -> None:
    header = status.index("data type|policy|version|since|usage|errors|p50 ms|p99 ms|fallbacks")
    cells = status[header + 1].split("|")
    assert (cells[:3], cells[4:6]) == (["wine", "deadline", "9"], ["4", "0"])
    assert float(cells[7]) == pytest.approx(4, rel=0.0101)
    assert cells[8] == "1"


def test_the_status_tells_how_slots_keep_up(status: list[str]) -> None:
    header = status.index("slot|chosen|asked|arrived|late|failed|not needed")
    assert status[header + 1 : header + 4] == [
        "wine/forest|3|2|1|1|0|0",
        "wine/tree|1|2|2|0|0|0",
        "wine/mlp|shadow|2|2|0|0|0",
    ]


def test_pairs_are_a_table(capsys: Capture) -> None:
    show_comparison(comparison_answer()["pairs"], confusion=False)
    assert lines(capsys)[:3] == [
        "slots|records|agree|differ, 5 min|p50|p99|apart in",
        "forest / tree|4|75.00%|25.00%|0|0|probabilities",
        "forest / mlp|0|-|-|-|-|-",
    ]


def test_labels_that_are_taken_for_others_are_shown_on_demand(capsys: Capture) -> None:
    show_comparison(comparison_answer()["pairs"], confusion=True)
    shown = lines(capsys)
    assert shown[shown.index("") + 1 :] == ["forest \\ tree|5|6", "5|2|·", "6|1|1", ""]


def test_a_node_that_is_not_there_is_named() -> None:
    ended = CliRunner().invoke(compare, ["wine", "--url", "http://127.0.0.1:9"])
    assert "no node answers at http://127.0.0.1:9" in str(ended.exception)
