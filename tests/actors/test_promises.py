"""What users of Akka rely on, and what holds here, over the cores of several routers.

docs/architecture.md has the table of all promises; the tests here are for those that no other shows,
and for the table.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.actors.routers import FACE, Network

from repertory.actors.client import RouterClient
from repertory.actors.frames import Frame
from repertory.config import ClusterConfig, NodePaths, load_config
from repertory.http.in_hand import InHand
from repertory.http.routes import make_app
from repertory.protos.door_pb2 import Envelope, Failure

ROOT = Path(__file__).parents[2]
GONE = 6.0  # seconds after which a silent node is taken to be gone, and a little more
CREDIT = 200  # batches that a face may have in hand; see routers.py
MODEL = 7  # the journal position of the models that serve


def started(nodes: str = "abc", *, up: str | None = None, **types: int) -> Network:
    """Return a network in which each data type has so many replicas, and a model wherever it serves."""
    network = Network(nodes, types or {"wine": 1}, up=up)
    network.pass_time(1 if up is None else GONE)
    for node in network.nodes.values():
        stage(network, node.name)
    network.pass_time(1)
    return network


def stage(network: Network, node: str) -> None:
    for data_type in network.config.data_types:
        network.nodes[node].stage(data_type, MODEL)


def described(network: Network, node: str) -> Any:
    """Return what a node says of the shards and the members, by name."""
    number = next(network.questions)
    network.ask(node, number, "cluster")
    answer = network.answer(node, number)
    return {
        "shards": answer["shards"],
        "members": {each["node"]: each for each in answer["members"]},
    }


def owners(network: Network, node: str, data_type: str = "wine") -> list[str]:
    found: list[str] = described(network, node)["shards"][data_type]["owners"]
    return found


def other(network: Network, *nodes: str) -> str:
    return next(name for name in network.nodes if name not in nodes)


def outcome(network: Network, node: str, number: int) -> tuple[str, int]:
    """Return which node scored a batch, and the position of its model."""
    kind, position, payload = network.nodes[node].replies[number]
    assert kind == Envelope.SCORED, Failure.FromString(payload)
    scorer, _, records = payload.decode().partition(" ")
    assert records == str(number), "the reply to another batch"
    return scorer, position


def refusal(network: Network, node: str, number: int) -> str:
    kind, _, payload = network.nodes[node].replies[number]
    assert kind == Envelope.FAILURE
    return Failure.FromString(payload).code


# --- entity → shard → region


def test_entity_to_shard_to_region_all_routers_name_the_same_owners_whenever_they_joined() -> None:
    types = {f"wine{each}": 1 + each % 3 for each in range(30)}
    network = started("abcd", up="bd", **types)
    for name in "ca":
        network.start(name)
        network.pass_time(GONE)
    told = [
        {name: each["owners"] for name, each in described(network, node)["shards"].items()}
        for node in network.nodes
    ]
    assert told[1:] == told[:-1]
    assert {node for nodes in told[0].values() for node in nodes} == set("abcd")


# --- unknown home


def test_unknown_home_batches_are_held_and_go_in_order_to_who_serves_next() -> None:
    network = started()
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.kill(owner)
    for number in range(CREDIT):
        network.score(node, number)
    assert not network.nodes[node].replies
    network.pass_time(GONE)
    [successor] = owners(network, node)
    assert {outcome(network, node, number)[0] for number in range(CREDIT)} == {successor}
    assert network.nodes[successor].scored == [b"%d" % number for number in range(CREDIT)]


def test_unknown_home_no_more_is_held_than_the_credit_and_the_rest_is_refused_at_once() -> None:
    network = started()
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.kill(owner)
    for number in range(CREDIT + 50):
        network.score(node, number)
    assert len(network.nodes[node].replies) == 50
    refused = [refusal(network, node, number) for number in range(CREDIT, CREDIT + 50)]
    assert refused == ["overloaded"] * 50
    network.pass_time(GONE)
    assert len(network.nodes[node].replies) == CREDIT + 50


def test_unknown_home_of_one_data_type_holds_up_no_other() -> None:
    network = started(wine=1, beer=1, cider=1)
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.kill(owner)
    network.score(node, 1)
    known = next(name for name in ("beer", "cider") if owners(network, node, name) != [owner])
    network.score(node, 2, known)
    assert outcome(network, node, 2)
    assert 1 not in network.nodes[node].replies


# --- order and delivery


def test_order_and_delivery_of_100_000_batches_each_is_answered_once_while_shards_move() -> None:
    network = started(wine=2)
    count, at_once = 100_000, CREDIT // 2
    for number in range(0, count, at_once):
        moves = number % 5_000 == 0
        network.frozen = set(network.nodes) - {"a"} if moves or number % 300 == 0 else set()
        ask_for(network, range(number, number + at_once))
        if moves:  # with batches in the hands of c
            come_or_go(network, "c")
        network.frozen = set()
        network.pass_time(0.1 if moves else 0.0)
    network.pass_time(GONE)
    assert len(network.nodes["a"].replies) == count  # a second reply fails at once: routers.py
    assert {outcome(network, "a", number)[1] for number in range(count)} == {MODEL}
    network.ask("a", count, "status")
    assert network.answer("a", count)["retried"] > 0


def come_or_go(network: Network, node: str) -> None:
    if node in network.nodes:
        network.kill(node)
    else:
        network.start(node)
        network.nodes[node].positions = {"wine": MODEL}


def ask_for(network: Network, numbers: range) -> None:
    for number in numbers:
        envelope = Envelope(kind=Envelope.SCORE, correlation_id=number, data_type="wine")
        network.nodes["a"].core.arrived(FACE, Frame(envelope, b"%d" % number))
    network.pass_time()


# --- rebalance


def test_rebalance_each_data_type_answers_with_the_same_version_before_meanwhile_and_after() -> (
    None
):
    types = {f"wine{each}": 1 for each in range(8)}
    network = started("ab", up="a", **types)
    before, number = dict.fromkeys(types, ("a", MODEL)), 0
    network.start("b")
    network.nodes["b"].positions = dict.fromkeys(types, MODEL)
    seen: dict[str, set[tuple[str, int]]] = {name: set() for name in types}
    for _ in range(100):
        network.pass_time(0.05)
        for name in types:
            number += 1
            network.score("a", number, name)
            seen[name].add(outcome(network, "a", number))
    assert {position for found in seen.values() for _, position in found} == {MODEL}
    moved = {name for name in types if ("b", MODEL) in seen[name]}
    assert moved == {name for name in types if owners(network, "a", name) == ["b"]} != set()
    assert all(seen[name] == {before[name]} for name in types.keys() - moved)


# --- hand-off


def test_hand_off_the_new_owner_is_ready_before_it_gets_batches_and_only_then_the_old_one_ends() -> (
    None
):
    network = started("ab", up="a", **{f"wine{each}": 1 for each in range(8)})
    network.start("b")
    network.pass_time(5)  # longer than an actor has that nobody needs any more
    moving = next(n for n in network.config.data_types if owners(network, "a", n) == ["b"])
    network.trace.clear()
    network.score("a", 1, moving)
    stage(network, "b")
    network.pass_time(0.5)
    network.score("a", 2, moving)
    network.pass_time(5)
    happened = [(what, node) for what, data_type, node in network.trace if data_type == moving]
    assert happened == [("scored", "a"), ("staged", "b"), ("scored", "b"), ("ended", "a")]


def test_hand_off_what_the_old_owner_has_in_hand_is_answered_though_it_leaves() -> None:
    network = started()
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.frozen = {owner}
    for number in range(50):
        network.score(node, number)
    network.frozen = set()
    network.ask(owner, 100, "leave")
    network.ask(owner, 101, "handover")
    network.pass_time(1)
    assert network.answer(owner, 101) == {"kept": []}
    network.ask(owner, 102, "farewell")
    network.kill(owner)
    assert {outcome(network, node, number)[1] for number in range(50)} == {MODEL}
    network.score(node, 200)
    assert outcome(network, node, 200)[0] != owner


# --- remember entities


def test_remember_entities_what_a_killed_node_served_answers_for_its_state_before_any_record() -> (
    None
):
    network = started()
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.kill(owner)
    network.pass_time(GONE)
    network.ask(node, 1, "state", data_type="wine")
    answer = network.answer(node, 1)
    assert answer["version"] == MODEL
    assert not answer.get("stale")
    assert not any(each.scored for each in network.nodes.values())


# --- ask


def test_ask_a_late_reply_over_a_new_link_is_for_nobody_and_never_for_the_next_batch() -> None:
    network = started(wine=2)
    first, second = owners(network, "a")
    node = other(network, first, second)
    network.frozen = {first}
    network.score(node, 1)
    network.score(node, 2)
    [late] = [frame.envelope for frame in network.on_the_way(first) if frame.payload in b"12"]
    network.pass_time(2)
    assert {outcome(network, node, number)[0] for number in (1, 2)} == {second}
    network.frozen = set()
    network.pass_time(1)
    network.frozen = {first, second}
    network.score(node, 3)
    reply = Envelope(kind=Envelope.SCORED, correlation_id=late.correlation_id, position=99)
    network.nodes[node].core.arrived(network.link(node, first), Frame(reply, b"late"))
    network.frozen = set()
    network.pass_time(0.1)
    assert outcome(network, node, 3)[1] == MODEL


def test_ask_a_question_to_a_node_that_dies_is_answered_that_it_was_lost() -> None:
    network = started()
    network.frozen = {"b"}
    network.ask("a", 1, "status", node="b")
    network.kill("b")
    network.pass_time()
    assert refusal(network, "a", 1) == "unavailable"


# --- split brain


def test_split_brain_both_sides_serve_and_the_older_model_is_heard_no_more_once_they_are_healed() -> (
    None
):
    network = started(wine=3)
    network.cut = {"c"}
    network.pass_time(GONE)
    for node in "ab":
        network.nodes[node].stage("wine", MODEL + 2)  # which c does not learn of
    for node, position in (("a", MODEL + 2), ("c", MODEL)):
        network.score(node, 1)
        assert outcome(network, node, 1)[1] == position
    network.cut = set()
    network.pass_time(1)
    for number in range(2, 20):
        network.score("c", number)
        scorer, position = outcome(network, "c", number)
        assert (scorer != "c", position) == (True, MODEL + 2)


# --- failure detection


@pytest.mark.parametrize(("seconds", "state"), [(0.9, "up"), (3.0, "suspect"), (7.0, "down")])
def test_failure_detection_a_pause_is_not_noticed_then_suspect_then_down_and_only_then_shards_move(
    seconds: float, state: str
) -> None:
    network = started()
    [owner] = owners(network, "a")
    node = other(network, owner)
    network.frozen = {owner}
    network.pass_time(seconds)
    assert described(network, node)["members"][owner]["state"] == state
    assert (owners(network, node) == [owner]) is (state != "down")


def test_failure_detection_a_node_that_died_is_back_as_another_and_one_that_was_frozen_is_not() -> (
    None
):
    network = started(wine=3)
    incarnations = [described(network, "a")["members"][node]["incarnation"] for node in "bc"]
    network.frozen = {"c"}
    network.kill("b")
    network.pass_time(GONE)
    network.frozen = set()
    network.start("b")
    network.pass_time(2)
    members = described(network, "a")["members"]
    assert [members[node]["state"] for node in "bc"] == ["up", "up"]
    assert members["b"]["incarnation"] != incarnations[0]
    assert members["c"]["incarnation"] == incarnations[1]


# --- management


@pytest.fixture
def local_config() -> ClusterConfig:
    return load_config(ROOT / "cluster.yaml")


def test_management_over_http_the_cluster_can_be_looked_at_and_not_changed(
    local_config: ClusterConfig,
) -> None:
    router = RouterClient(ROOT / "no-door", role="http")
    app = make_app(local_config, NodePaths(local_config, "a"), router, InHand())
    routes = [
        (each.method, each.resource.canonical) for each in app.router.routes() if each.resource
    ]
    assert {method for method, path in routes if path.startswith("/cluster")} == {"GET"}


# --- the table


def rows() -> Iterator[tuple[str, str]]:
    """Yield each promise, and all that the page says of it."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("\n## Akka's promises, and ours\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        _, promise, *said, _ = line.split("|")
        yield promise.strip(), "|".join(said)


def named(text: str) -> list[str]:
    return re.findall(r"`(test_\w+\.py::test_\w+)`", text)


def test_all_promises_are_kept_by_a_test_or_said_to_be_others_here() -> None:
    table = dict(rows())
    assert len(table) >= 20
    assert [
        promise for promise, said in table.items() if not named(said) and "Ours:" not in said
    ] == []


def test_each_test_that_the_table_names_is_there() -> None:
    files = {file.name: file.read_text() for file in (ROOT / "tests").rglob("test_*.py")}
    places = [each.split("::") for _, said in rows() for each in named(said)]
    absent = [place for place in places if f"def {place[1]}(" not in files.get(place[0], "")]
    assert absent == []


def test_the_table_names_each_test_of_a_promise_that_is_here() -> None:
    text = "".join(said for _, said in rows())
    here = re.findall(
        r"\ndef (test_\w+)\(", Path(__file__).read_text().partition("# --- the table")[0]
    )
    assert [each for each in here if f"`{Path(__file__).name}::{each}`" not in text] == []
