"""The command line against a node: publish, score, status, versions, rollback, replay."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until


@pytest.fixture(scope="module")
def brokers(free_ports: Callable[[], int]) -> str:
    return f"127.0.0.1:{free_ports()}"


@pytest.fixture(scope="module")
def node(
    make_config: Callable[..., Path], brokers: str, command_node: Callable[..., LocalNode]
) -> Iterator[LocalNode]:
    """A node with the embedded broker, which starts without a model."""
    config = make_config(kafka={"bootstrap_servers": brokers})
    with command_node(config, "--broker", "embedded") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture(scope="module")
def ask(node: LocalNode, repertory: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command against the node."""
    return partial(repertory, REPERTORY_URL=node.url, REPERTORY_CONFIG=str(node.config_path))


@pytest.fixture(scope="module")
def forest(ask: Callable[..., Any], wine_models: Path) -> int:
    """The version of a model that serves."""
    ended = ask("publish", "wine", wine_models / "02-random-forest.onnx", "--name", "forest")
    assert ended.code == 0, ended
    found = re.fullmatch(r"SERVING forest version (\d+)\n", ended.out)
    assert found, ended.out
    return int(found[1])


def rejected(ended: Any, reason: str) -> None:
    assert (ended.code, ended.out) == (1, "")
    assert reason in ended.err


def test_a_published_model_serves(forest: int, ask: Callable[..., Any]) -> None:
    shown = ask("status")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "node a is ready"
    assert lines[1].split("  ")[0] == "data type"
    assert re.match(rf"wine +forest +{forest}  \d\d:\d\d:\d\d +\d", lines[2])


def test_status_is_json_for_programs(forest: int, ask: Callable[..., Any]) -> None:
    found = json.loads(ask("status", "--json").out)
    assert found["ready"] is True
    assert found["states"]["wine"]["version"] >= forest


def test_each_record_gets_a_line_with_its_model(
    forest: int, wine_data: Path, ask: Callable[..., Any]
) -> None:
    ended = ask("score", "wine", wine_data, "--limit", 3)
    assert (ended.code, ended.err) == (0, "")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert len(lines) == 3
    assert all(line["model"]["version"] >= forest and "label" in line for line in lines)


def test_a_whole_file_is_scored_in_order(
    forest: int, wine_data: Path, ask: Callable[..., Any]
) -> None:
    results = ask("score", "wine", wine_data).out.splitlines()
    assert len(results) == 1599
    assert results[:2] == ask("score", "wine", wine_data, "--limit", 2).out.splitlines()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_records_come_from_standard_input(
    kind: str, forest: int, wine_data: Path, ask: Callable[..., Any]
) -> None:
    header, first = wine_data.read_text().splitlines()[:2]
    row = dict(zip(header.split(","), map(float, first.split(",")), strict=True))
    text = f"{header}\n{first}\n" if kind == "csv" else json.dumps(row) + "\n"
    expected = ask("score", "wine", wine_data, "--limit", 1).out
    assert ask("score", "wine", "-", stdin=text).out == expected


def test_records_that_cannot_be_scored_say_why(
    forest: int, wine_data: Path, ask: Callable[..., Any]
) -> None:
    header, first, second = wine_data.read_text().splitlines()[:3]
    empty = "," + second.partition(",")[2]
    ended = ask("score", "wine", "-", stdin=f"{header}\n{first}\n{empty}\n")
    good, bad = map(json.loads, ended.out.splitlines())
    assert "label" in good
    assert bad["error"] == "fixed_acidity is missing"
    assert (ended.code, ended.err) == (1, "Error: 1 of 2 records could not be scored\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "pH,alcohol\n1,2,3\n", "a.csv, line 2: as many cells as there are columns (2)"),
        ("a.jsonl", '{"pH": 1}\n{"pH"\n', "a.jsonl, line 2: is not JSON"),
        ("a.csv", "pH,alcohol\n", "a.csv has no records"),
        ("a.txt", "pH", "not a known format; known endings: .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    name: str, text: str, message: str, tmp_path: Path, forest: int, ask: Callable[..., Any]
) -> None:
    (tmp_path / name).write_text(text)
    rejected(ask("score", "wine", name, cwd=tmp_path), message)


def test_a_wrong_line_of_standard_input_is_named(forest: int, ask: Callable[..., Any]) -> None:
    rejected(ask("score", "wine", "-", stdin="pH\n1,2\n"), "Error: standard input, line 2: ")
    rejected(ask("score", "wine", "-"), "standard input has no records")


def test_a_rejected_model_ends_with_its_reason_and_the_old_one_serves(
    forest: int, wine_models: Path, ask: Callable[..., Any]
) -> None:
    before = json.loads(ask("status", "--json").out)["states"]["wine"]["version"]
    ended = ask("publish", "wine", wine_models / "08-mlp.pmml", "--type", "onnx")
    rejected(ended, "is rejected: modeltype is ONNX, but the content looks like PMML")
    assert json.loads(ask("status", "--json").out)["states"]["wine"]["version"] == before
    listed = ask("versions", "wine").out
    assert re.search(r"^ +\d+  REJECTED  08-mlp +ONNX ", listed, re.MULTILINE)
    assert re.search(r"^version \d+: modeltype is ONNX, but .* PMML$", listed, re.MULTILINE)


def test_a_model_of_no_known_format_is_refused(tmp_path: Path, ask: Callable[..., Any]) -> None:
    (tmp_path / "README.md").write_text("not a model")
    rejected(ask("publish", "wine", "README.md", cwd=tmp_path), "cannot be told from its content")
    rejected(ask("publish", "wine", "README.md", "--type", "pickle", cwd=tmp_path), "TENSORFLOW")


@pytest.mark.parametrize("data_type", ["beer", "a/b", "wine?x=1"])
def test_an_unknown_data_type_is_named_with_those_there_are(
    data_type: str, wine_models: Path, wine_data: Path, ask: Callable[..., Any]
) -> None:
    commands = (
        ("versions", data_type),
        ("rollback", data_type, 1),
        ("score", data_type, wine_data),
        ("publish", data_type, wine_models / "05-mlp.onnx"),
    )
    for command in commands:
        rejected(ask(*command), f"no data type '{data_type}' is declared")


def test_a_roll_back_serves_an_earlier_version_again(
    forest: int, wine_models: Path, ask: Callable[..., Any]
) -> None:
    assert ask("publish", "wine", wine_models / "05-mlp.onnx").code == 0
    assert ask("rollback", "wine", forest).out == f"SERVING forest version {forest}\n"
    found = json.loads(ask("versions", "wine", "--json").out)["versions"]
    states = {each["version"]: each["state"] for each in found}
    assert states[forest] == "SERVING"
    assert list(states.values()).count("SERVING") == 1


def test_a_retired_model_serves_no_more_until_it_is_rolled_back_to(
    forest: int, ask: Callable[..., Any]
) -> None:
    assert ask("rollback", "wine", forest).code == 0
    for _ in range(2):  # what is retired stays so
        assert ask("retire", "wine").out == f"RETIRED forest version {forest}\n"
    assert "wine: the model of 'wine' was retired at " in ask("status").out
    rejected(ask("retire", "beer"), "no data type 'beer' is declared")
    assert ask("rollback", "wine", forest).out == f"SERVING forest version {forest}\n"


def test_a_version_that_is_not_there_cannot_be_rolled_back_to(
    forest: int, ask: Callable[..., Any]
) -> None:
    rejected(ask("rollback", "wine", 999), "there is no model version 999 of 'wine'")
    assert ask("rollback", "wine", 0).code == 2


def test_records_and_models_go_through_kafka(
    forest: int, brokers: str, node: LocalNode, wine_models: Path, ask: Callable[..., Any]
) -> None:
    ended = ask("publish", "wine", wine_models / "01-decision-tree.pmml", "--kafka", brokers)
    assert ended.out.startswith(f"published to models at {brokers}")
    wait_until(lambda: node.get("/state/wine")["name"] == "01-decision-tree", "the tree serves")


def test_a_file_is_replayed_to_the_topic_of_the_data_type(
    forest: int, brokers: str, node: LocalNode, wine_data: Path, ask: Callable[..., Any]
) -> None:
    before = node.get("/state/wine")["usage"]
    ended = ask("replay", wine_data)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"1,599 records to mdata at {brokers} in ")
    wait_until(lambda: node.get("/state/wine")["usage"] >= before + 1599, "all are scored")


def test_a_second_up_of_the_same_node_says_that_it_runs(
    node: LocalNode, ask: Callable[..., Any]
) -> None:
    rejected(ask("up"), f"this node runs already, as process {node.pid}")


def test_doctor_knows_the_running_node(node: LocalNode, ask: Callable[..., Any]) -> None:
    ended = ask("doctor")
    assert ended.code == 0
    assert f"     ok  node a: runs, as process {node.pid}\n" in ended.out


def test_what_answers_but_is_no_node_is_told(brokers: str, node: LocalNode, repertory: Any) -> None:
    ended = repertory("status", "--url", brokers)
    rejected(ended, f"http://{brokers} broke off")
