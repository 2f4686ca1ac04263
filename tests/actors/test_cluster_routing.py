"""Several routers together: batches find a node that serves, whatever happens to the others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.actors.routers import FACE, Network

from repertory.actors.frames import Frame
from repertory.protos.door_pb2 import Envelope, Failure

GONE = 6.0  # seconds after which a silent node is taken to be gone, and a little more


def started(nodes: str = "abc", **types: int) -> Network:
    network = Network(nodes, types or {"wine": 2})
    network.pass_time(1)
    for node in network.nodes.values():
        for data_type in network.config.data_types:
            node.stage(data_type, 7)
    network.pass_time(1)
    return network


@pytest.fixture
def network() -> Network:
    return started()


def owners(network: Network, data_type: str = "wine") -> list[str]:
    asked = next(node for node in network.nodes if node not in network.frozen)
    number = next(network.questions)
    network.ask(asked, number, "cluster")
    found: list[str] = network.answer(asked, number)["shards"][data_type]["owners"]
    return found


def stranger(network: Network) -> str:
    """Return a node that does not own wine."""
    return next(node for node in network.nodes if node not in owners(network))


def scored_by(network: Network, node: str, number: int) -> str:
    kind, _, payload = network.nodes[node].replies[number]
    assert kind == Envelope.SCORED, Failure.FromString(payload)
    return payload.decode().partition(" ")[0]


def test_only_owners_have_an_actor(network: Network) -> None:
    serving = {name for name, node in network.nodes.items() if node.serves()}
    assert serving == set(owners(network))


def test_an_owner_scores_itself(network: Network) -> None:
    owner = owners(network)[0]
    network.score(owner, 1)
    assert scored_by(network, owner, 1) == owner


def test_any_other_node_sends_to_an_owner_and_passes_the_reply_back(network: Network) -> None:
    node = stranger(network)
    network.score(node, 1)
    assert scored_by(network, node, 1) in owners(network)


def test_a_batch_in_flight_to_a_node_that_dies_is_scored_by_the_other_replica(
    network: Network,
) -> None:
    node, (first, second) = stranger(network), owners(network)
    network.frozen = {first, second}
    for number in range(4):
        network.score(node, number)
    network.kill(first)
    network.frozen = set()
    network.pass_time(0.2)
    assert {scored_by(network, node, number) for number in range(4)} == {second}


def test_the_least_busy_replica_gets_the_next_batch(network: Network) -> None:
    node, (first, second) = stranger(network), owners(network)
    network.frozen = {first}
    for number in range(4):
        network.score(node, number)
    assert len(network.nodes[node].replies) == 3
    assert network.nodes[second].answers == 3


def test_a_frozen_node_is_suspected_and_its_batches_go_to_the_other_replica(
    network: Network,
) -> None:
    node, (first, second) = stranger(network), owners(network)
    network.frozen = {first}
    network.score(node, 1)
    network.score(node, 2)
    network.pass_time(2.0)
    assert scored_by(network, node, 1) == scored_by(network, node, 2) == second


def test_a_node_that_was_frozen_serves_again_and_others_give_up_nothing_they_own(
    network: Network,
) -> None:
    first = owners(network)[0]
    before = owners(network)
    network.frozen = {first}
    network.pass_time(30)
    network.frozen = set()
    network.pass_time(10)
    assert owners(network) == before
    assert {name for name, node in network.nodes.items() if node.serves()} == set(before)


def test_a_single_copy_moves_when_its_node_is_gone() -> None:
    network = started(wine=1)
    node, [owner] = stranger(network), owners(network)
    network.kill(owner)
    network.score(node, 1)
    network.pass_time(GONE)
    assert scored_by(network, node, 1) in network.nodes


def test_a_batch_that_nobody_serves_waits_no_longer_than_its_deadline() -> None:
    network = started(wine=1)
    node, [owner] = stranger(network), owners(network)
    network.kill(owner)
    network.score(node, 1, ms=1000)
    network.pass_time(1.2)
    kind, _, payload = network.nodes[node].replies[1]
    assert kind == Envelope.FAILURE
    assert Failure.FromString(payload).code == "deadline_exceeded"


def test_without_a_model_anywhere_the_asker_is_told_so_at_once() -> None:
    network = Network("abc", {"wine": 1})
    network.pass_time(1)
    for node in network.nodes:
        network.score(node, 1)
        assert Failure.FromString(network.nodes[node].replies[1][2]).code == "no_model"


def test_while_its_new_owner_asks_its_keeper_for_the_model_a_data_type_is_waited_for() -> None:
    network = started(wine=1)
    asker, [owner] = stranger(network), owners(network)
    for node in network.nodes.values():
        node.positions["wine"], node.keeper_answers = 0, False
    network.kill(owner)
    network.pass_time(GONE)
    for node in network.nodes.values():
        network.score(node.name, 1)
    network.pass_time(1)
    assert all(1 not in node.replies for node in network.nodes.values())
    for node in network.nodes.values():
        node.stage("wine", 7)
        node.let_keeper_answer()
    network.pass_time(0.2)
    assert scored_by(network, asker, 1) == owners(network)[0]


def test_without_a_model_it_is_waited_for_no_longer_than_the_keeper_takes() -> None:
    network = started(wine=1)
    [owner] = owners(network)
    for node in network.nodes.values():
        node.positions["wine"] = 0
    network.kill(owner)
    network.pass_time(GONE)
    for node in network.nodes.values():
        network.score(node.name, 1)
        network.pass_time(0.2)
        assert Failure.FromString(node.replies[1][2]).code == "no_model"


def test_an_old_owner_serves_until_all_replicas_do() -> None:
    network = Network("abc", {f"wine{i}": 2 for i in range(6)}, up="ab")
    network.pass_time(GONE)
    for node in network.nodes.values():
        for name in network.config.data_types:
            node.stage(name, 7)
    network.start("c")
    network.pass_time(10)
    types = set(network.config.data_types)
    assert network.nodes["a"].serves() == network.nodes["b"].serves() == types
    for name in types:
        network.nodes["c"].stage(name, 7)
    network.pass_time(5)
    assert sum(len(node.serves()) for node in network.nodes.values()) == 2 * len(types)


def test_nodes_that_end_together_wait_for_nobody(network: Network) -> None:
    for number, subject in enumerate(("leave", "handover"), 1):
        for name in network.nodes:
            network.ask(name, number, subject)
        network.pass_time(0.2)
    assert all(2 in node.replies for node in network.nodes.values())


def test_a_node_that_joins_serves_its_share_and_the_old_owner_retires() -> None:
    network = Network("ab", {f"wine{i}": 1 for i in range(8)}, up="a")
    network.pass_time(GONE)
    network.nodes["a"].positions = dict.fromkeys(network.config.data_types, 7)
    for name in network.config.data_types:
        network.nodes["a"].stage(name, 7)
    network.start("b")
    network.nodes["b"].positions = dict.fromkeys(network.config.data_types, 7)
    network.pass_time(5)
    moved = network.nodes["b"].serves()
    assert 0 < len(moved) < 8
    assert network.nodes["a"].serves() == set(network.config.data_types) - moved


def test_the_old_owner_serves_until_the_new_one_has_a_model() -> None:
    network = Network("ab", {f"wine{i}": 1 for i in range(8)}, up="a")
    network.pass_time(GONE)
    for name in network.config.data_types:
        network.nodes["a"].stage(name, 7)
    network.start("b")
    network.pass_time(20)
    for number, name in enumerate(network.config.data_types):
        network.score("b", number, name)
        assert scored_by(network, "b", number) == "a"


def leaving() -> tuple[Network, str]:
    """Have the only node that has a model for wine leave; return it and the network."""
    network = started(wine=1)
    [owner] = owners(network)
    for node in network.nodes.values():
        node.positions = {"wine": 7 if node.name == owner else 0}
    network.ask(owner, 1, "leave")
    network.ask(owner, 2, "handover")
    return network, owner


def test_a_node_that_leaves_is_waited_for_until_others_serve_what_it_served() -> None:
    network, owner = leaving()
    network.pass_time(3)
    assert 2 not in network.nodes[owner].replies
    for node in network.nodes.values():
        node.stage("wine", 7)
    network.pass_time(0.2)
    assert network.answer(owner, 2) == {"kept": []}


def test_who_cannot_hand_over_says_what_is_lost_after_a_while() -> None:
    network, owner = leaving()
    network.pass_time(21)
    assert network.answer(owner, 2) == {"kept": ["wine"]}


def test_who_has_said_farewell_is_down_at_once(network: Network) -> None:
    first, second = owners(network)
    network.ask(first, 1, "leave")
    network.ask(first, 2, "farewell")
    network.ask(second, 3, "cluster")
    members = {each["node"]: each["state"] for each in network.answer(second, 3)["members"]}
    assert members[first] == "down"


def test_the_leader_is_the_first_that_is_up(network: Network) -> None:
    network.kill("a")
    network.pass_time(GONE)
    network.ask("b", 1, "cluster")
    assert network.answer("b", 1)["leader"] == "b"


# --- versions never go backwards


def test_once_a_newer_model_has_answered_no_older_one_is_heard(network: Network) -> None:
    node, (first, second) = stranger(network), owners(network)
    network.nodes[first].stage("wine", 9)
    for number in range(20):
        network.score(node, number)
    positions = [network.nodes[node].replies[number][1] for number in range(20)]
    assert positions == sorted(positions)
    network.pass_time(1)
    network.score(node, 99)
    assert network.nodes[node].replies[99][1] == 9
    assert second in network.nodes


def test_an_older_model_serves_when_nobody_has_the_newer_one_for_long(network: Network) -> None:
    node, (first, _) = stranger(network), owners(network)
    network.nodes[first].stage("wine", 9)
    network.pass_time(1)
    network.kill(first)
    network.score(node, 1)
    network.pass_time(5)
    assert 1 not in network.nodes[node].replies
    network.pass_time(10)
    assert network.nodes[node].replies[1][1] == 7


def test_a_restored_actor_that_is_behind_is_not_heard_until_it_has_caught_up() -> None:
    network = started("ab", wine=1)
    [owner] = owners(network)
    network.nodes[owner].stage("wine", 9)
    network.score(owner, 1)
    network.nodes[owner].positions["wine"] = 7
    network.nodes[owner].kill_actor("wine")
    network.score(owner, 2)
    network.pass_time(0.5)
    assert 2 not in network.nodes[owner].replies
    network.nodes[owner].stage("wine", 9)
    network.pass_time(0.1)
    assert network.nodes[owner].replies[2][1] == 9


def test_a_face_that_takes_a_partition_over_tells_what_it_must_not_fall_behind(
    network: Network,
) -> None:
    node = stranger(network)
    tell = Envelope(kind=Envelope.TELL, subject="floor")
    network.nodes[node].core.arrived(FACE, Frame(tell, b'{"positions": {"wine": 9}}'))
    network.score(node, 1)
    assert 1 not in network.nodes[node].replies


# --- questions


def test_any_node_answers_how_a_data_type_does(network: Network) -> None:
    for number, node in enumerate(network.nodes, 1):
        network.ask(node, number, "state", data_type="wine")
        assert network.answer(node, number)["usage"] == 2


def test_while_an_owner_cannot_be_reached_the_answer_is_marked_stale(network: Network) -> None:
    node, (first, _) = stranger(network), owners(network)
    network.ask(node, 1, "state", data_type="wine")
    network.cut = {first}
    network.pass_time(2)
    network.ask(node, 2, "state", data_type="wine")
    answer = network.answer(node, 2)
    assert answer["stale"] is True
    assert answer["usage"] == 2


def test_a_node_that_does_not_answer_in_time_counts_as_unreachable(network: Network) -> None:
    node, (first, _) = stranger(network), owners(network)
    network.frozen = {first}
    network.ask(node, 1, "state", data_type="wine")
    network.pass_time(1.1)
    assert network.answer(node, 1)["stale"] is True


def test_histories_are_told_by_the_first_owner_or_by_the_own_keeper_without_it(
    network: Network,
) -> None:
    node, (first, _) = stranger(network), owners(network)
    network.ask(node, 1, "versions", data_type="wine")
    assert network.answer(node, 1)["of"] == first
    network.frozen = {first}
    network.ask(node, 2, "versions", data_type="wine")
    network.pass_time(2)
    assert network.answer(node, 2)["of"] == node


def test_a_question_may_name_the_node_that_is_to_answer(network: Network) -> None:
    network.ask("a", 1, "status", node="b")
    assert network.answer("a", 1)["node"] == "b"


def test_another_node_may_neither_stage_nor_end_this_one(network: Network) -> None:
    for number, subject in enumerate(("leave", "farewell", "publish", "handover", "here"), 1):
        network.ask("a", number, subject, node="b")
        kind, _, payload = network.nodes["a"].replies[number]
        assert kind == Envelope.FAILURE, payload


# --- everything at once


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_happens_each_batch_is_answered_once_and_versions_never_go_back(
    data: st.DataObject,
) -> None:
    network = started(wine=2, beer=1)
    position, number, asked = 7, 0, list[tuple[str, int, str]]()
    for _ in range(data.draw(st.integers(5, 25))):
        node = data.draw(st.sampled_from(sorted(set(network.nodes) - network.frozen)))
        match data.draw(
            st.sampled_from(["score", "score", "score", "swap", "freeze", "cut", "actor", "wait"])
        ):
            case "score":
                number += 1
                data_type = data.draw(st.sampled_from(["wine", "beer"]))
                network.score(node, number, data_type)
                asked.append((node, number, data_type))
            case "swap":
                position += 1
                network.nodes[node].stage("wine", position)  # the others follow
            case "freeze":
                network.frozen = (
                    {data.draw(st.sampled_from("abc"))} if not network.frozen else set()
                )
            case "cut":
                network.cut = {data.draw(st.sampled_from("abc"))} if not network.cut else set()
            case "actor":
                network.nodes[node].kill_actor("wine")
            case "wait":
                for each in network.nodes.values():
                    each.stage("wine", position)
                network.pass_time(data.draw(st.floats(0.05, 8.0)))
    network.frozen, network.cut = set(), set()
    for each in network.nodes.values():
        each.stage("wine", position)
    network.pass_time(GONE + 12)
    for name, batch, _ in asked:
        assert network.nodes[name].replies[batch][0] == Envelope.SCORED
    of_wine = {batch for _, batch, data_type in asked if data_type == "wine"}
    for each in network.nodes.values():
        in_order = [reply[1] for batch, reply in each.replies.items() if batch in of_wine]
        assert in_order == sorted(in_order)
