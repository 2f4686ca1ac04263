"""`repertory policy`: set, show, history, rollback, remove, against a node."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode

COMMANDS = ["set", "show", "history", "rollback", "remove"]


@pytest.fixture(scope="module")
def node(
    make_config: Callable[..., Path], command_node: Callable[..., LocalNode]
) -> Iterator[LocalNode]:
    """A node that starts without a model."""
    with command_node(make_config()) as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture(scope="module")
def ask(node: LocalNode, repertory: Callable[..., Any], wine_models: Path) -> Callable[..., Any]:
    """Run a command against the node, which has a forest and a tree."""
    run = partial(repertory, REPERTORY_URL=node.url)
    for name, file in (("forest", "02-random-forest.onnx"), ("tree", "01-decision-tree.pmml")):
        assert run("publish", "wine", wine_models / file, "--name", name).code == 0
    return run


@pytest.fixture
def policy(ask: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Run `repertory policy …`; wine has no policy before and after."""
    yield partial(ask, "policy")
    assert ask("policy", "remove", "wine").code == 0


def version_in_force(ended: Any, kind: str) -> int:
    found = re.fullmatch(rf"IN_FORCE policy (\d+): {kind}\n", ended.out)
    assert (ended.code, bool(found)) == (0, True), ended
    assert found
    return int(found[1])


def refused(ended: Any, message: str, code: int = 1) -> None:
    assert (ended.code, ended.out) == (code, ""), ended
    assert message in ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command: str, repertory: Callable[..., Any]) -> None:
    shown = repertory("policy", command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: repertory policy {command} [OPTIONS] DATA_TYPE")
    assert max(map(len, shown.out.splitlines())) <= 80


def test_help_lists_the_commands(repertory: Callable[..., Any]) -> None:
    listed = repertory("policy", "--help").out.split("Commands:")[1].splitlines()
    assert [line.split()[0] for line in listed if line] == COMMANDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "wine"], "say the KIND and its slots, or --file"),
        (["set", "wine", "latest", "--option", "share"], "'share' is not NAME=VALUE"),
        (["set", "wine", "latest", "--deadline-ms", "soon"], "'soon' is not a valid float"),
        (["set", "wine", "--file", "nix.json"], "No such file or directory"),
        (["set", "wine", "--file", "-", "--decoy"], "--file says it all, also decoy"),
        (["rollback", "wine", "0"], "0 is not in the range x>=1"),
        (["show"], "Missing argument 'DATA_TYPE'"),
    ],
)
def test_what_is_written_wrongly_is_told(
    arguments: list[str], message: str, repertory: Callable[..., Any]
) -> None:
    refused(repertory("policy", *arguments), message, code=2)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON: "), ("[]", "policy.json holds no JSON object")]
)
def test_a_file_without_a_policy_is_told(
    text: str, message: str, tmp_path: Path, repertory: Callable[..., Any]
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    refused(repertory("policy", "set", "wine", "--file", file), message)


def test_a_policy_that_is_set_is_shown(policy: Callable[..., Any]) -> None:
    arguments = ("deadline", "forest", "tree", "--deadline-ms", 5000, "--shadow", "linear")
    refused(policy("set", "wine", *arguments), "slot 'linear' has no model")
    version_in_force(policy("set", "wine", *arguments[:-2], "--decoy"), "deadline")
    assert json.loads(policy("show", "wine").out) == {
        "policy": "deadline",
        "slots": ["forest", "tree"],
        "deadlineMs": 5000,
        "decoy": True,
    }


def test_nothing_that_is_said_is_left_out(policy: Callable[..., Any]) -> None:
    ended = policy("set", "wine", "majority", "forest", "tree", "--deadline-ms", 0)
    refused(ended, "deadlineMs: Input should be greater than 0 (got 0.0)")


def test_what_was_shown_can_be_set_again(policy: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("forest", "tree", "--option", "share=0.5", "--option", "by=pH")
    version = version_in_force(policy("set", "wine", "canary", *arguments), "canary")
    shown = policy("show", "wine").out
    assert json.loads(shown)["options"] == {"share": 0.5, "by": "pH"}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({**json.loads(shown), "description": "as before"}))
    assert version_in_force(policy("set", "wine", "--file", file), "canary") > version
    newest = json.loads(policy("history", "wine", "--json").out)["policies"][0]
    assert newest["description"] == "as before"
    version_in_force(policy("set", "wine", "--file", "-", stdin=shown), "canary")
    assert policy("show", "wine").out == shown


def test_the_history_says_why(policy: Callable[..., Any]) -> None:
    why = "ask both"
    version = version_in_force(
        policy("set", "wine", "majority", "forest", "tree", "--description", why), "majority"
    )
    refused(policy("set", "wine", "majority", "forest", "beech"), "slot 'beech' has no model")
    lines = policy("history", "wine").out.splitlines()
    rows = [re.split(" {2,}", line.strip()) for line in lines]
    assert rows[0] == ["version", "state", "policy", "slots", "published", "why"]
    assert rows[1][:4] == [str(version + 1), "REJECTED", "majority", "forest, beech"]
    assert rows[2][:4] + rows[2][5:] == [
        *(str(version), "IN_FORCE", "majority", "forest, tree"),
        why,
    ]
    assert any(line.startswith(f"policy {version + 1}: slot 'beech'") for line in lines)
    found = json.loads(policy("history", "wine", "--json").out)["policies"]
    assert [each["version"] for each in found[:2]] == [version + 1, version]


def test_an_earlier_policy_comes_back(policy: Callable[..., Any]) -> None:
    first = version_in_force(policy("set", "wine", "majority", "forest", "tree"), "majority")
    version_in_force(policy("set", "wine", "latest", "tree"), "latest")
    version_in_force(policy("rollback", "wine", first), "majority")
    refused(policy("rollback", "wine", 999), "there is no policy version 999 of 'wine'")


def test_without_a_policy_the_newest_model_serves(policy: Callable[..., Any]) -> None:
    version_in_force(policy("set", "wine", "latest", "forest"), "latest")
    version_in_force(policy("remove", "wine"), "the newest model serves")
    refused(policy("show", "wine"), "'wine' has no policy")


@pytest.mark.parametrize("command", [("show",), ("history",), ("remove",), ("set", "latest")])
def test_an_unknown_data_type_is_told(command: tuple[str, ...], policy: Callable[..., Any]) -> None:
    name, *rest = command
    refused(policy(name, "beer", *rest), "no data type 'beer' is declared in cluster.yaml")
