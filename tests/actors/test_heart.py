"""What routers tell each other of their nodes, in the words of each version of the protocol."""

import orjson
import pytest
from tests.actors.routers import Network

from repertory.actors.heart import read_beat, write_beat
from repertory.actors.membership import Beat, Standing
from repertory.protos.door_pb2 import Envelope

BEAT = Beat(
    node="b",
    incarnation="b-1",
    leaving=True,
    ready={"wine": Standing(7), "cider": Standing(9, has_policy=True)},
    out={"beer": "it is being loaded"},
    about={"software": "0.1.0"},
)


def test_a_beat_is_read_as_it_was_written() -> None:
    assert read_beat(orjson.dumps(write_beat(BEAT, 2)), "b") == BEAT


def test_a_node_of_the_previous_version_is_told_positions_alone() -> None:
    assert write_beat(BEAT, 1)["ready"] == {"wine": 7, "cider": 9}


def test_a_beat_of_the_previous_version_is_understood() -> None:
    beat = read_beat(orjson.dumps(write_beat(BEAT, 1)), "b")
    assert beat.ready == {"wine": Standing(7), "cider": Standing(9)}
    assert (beat.leaving, beat.out, beat.about) == (True, BEAT.out, BEAT.about)


def test_whose_beat_it_is_is_known_by_its_connection_and_not_by_what_it_says() -> None:
    assert read_beat(orjson.dumps(write_beat(BEAT, 2)), "c").node == "c"


@pytest.mark.parametrize(
    "payload", [b"[]", b"{", b'{"ready": {"wine": "7"}}', b'{"ready": {"wine": [7]}}']
)
def test_what_is_no_beat_is_refused(payload: bytes) -> None:
    with pytest.raises((TypeError, ValueError)):
        read_beat(payload, "b")


@pytest.mark.parametrize("older", ["a", "b", "ab"])
def test_nodes_of_two_versions_know_what_each_other_serves_and_score_for_each_other(
    older: str,
) -> None:
    network = Network("abc", {"wine": 2, "beer": 1}, older=older)
    network.pass_time(1)
    for node in network.nodes.values():
        node.positions = {"wine": 7, "beer": 7}
        for data_type in node.serves():
            node.stage(data_type, 7)
    network.pass_time(1)
    for number, (name, node) in enumerate(network.nodes.items()):
        network.ask(name, 10 + number, "cluster")
        shards = network.answer(name, 10 + number)["shards"]
        assert sorted(shards["wine"]["ready"].values()) == [7, 7]
        for data_type in ("wine", "beer"):
            batch = 100 + 2 * number + (data_type == "beer")
            network.score(name, batch, data_type)
            assert node.replies[batch][0] == Envelope.SCORED
