"""The Kafka face, with a real broker and a real node."""

import random
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Message

from repertory.actors.local_node import wait_until
from repertory.protos.results_pb2 import ScoredRecord
from repertory.protos.winerecord_pb2 import WineRecord

# A valid addition to any message: field 100, of 5,000 bytes that cannot be compressed.
UNKNOWN_FIELD = b"\xa2\x06\x88\x27" + random.Random(1).randbytes(5000)
World = Any  # tests/streams/conftest.py has it


def wine(number: int, data_type: str = "wine") -> bytes:
    """Return a plausible wine whose sugar is its number."""
    return WineRecord(
        fixed_acidity=7.4,
        volatile_acidity=0.7,
        residual_sugar=number,
        density=0.997,
        pH=3.5,
        alcohol=9.4,
        dataType=data_type,
    ).SerializeToString()


def wines(count: int, data_type: str = "wine") -> list[bytes]:
    """Return so many wines."""
    return [wine(number, data_type) for number in range(count)]


def offsets(results: Iterable[ScoredRecord], topic: str = "wine") -> dict[int, list[int]]:
    """Return the offsets of the records of a topic by partition, in the order of the results."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for result in results:
        if result.source.topic.endswith(topic):
            found[result.source.partition].append(result.source.offset)
    return dict(found)


def headers(message: Message) -> dict[str, str]:
    """Return the headers of a message."""
    return {key: value.decode() for key, value in cast(Any, message.headers()) or []}


def every(count: int) -> dict[int, list[int]]:
    """Return what `offsets` gives when each of four partitions has `count` results, in order."""
    return {partition: list(range(count)) for partition in range(4)}


def distinct(found: dict[int, list[int]]) -> dict[int, list[int]]:
    """Return offsets without those that came before."""
    return {partition: sorted(set(each)) for partition, each in found.items()}


def test_every_record_gets_one_result_in_the_order_of_its_partition(world_of_both: World) -> None:
    world_of_both.create_topics()
    world_of_both.produce("wine", wines(2000))
    world_of_both.start_face()
    world_of_both.wait_consumed()
    assert offsets(world_of_both.results()) == every(500)


def test_a_result_says_which_record_it_is_of_and_which_model_made_it(world: World) -> None:
    world.create_topics()
    world.produce("wine", wines(3))
    world.start_face()
    world.wait_consumed()
    [source] = [m for m in world.read("wine") if m.key() == b"1"]
    [message] = [m for m in world.read("results") if m.key() == b"1"]
    result = ScoredRecord.FromString(message.value())
    [serving] = [m for m in world.ask("models")["models"] if m["dataType"] == "wine"]
    assert result.record == source.value()
    assert (result.model.version, result.model.sha256) == (serving["version"], serving["sha256"])
    assert (result.source.topic, result.source.partition) == (source.topic(), source.partition())
    assert message.timestamp() == source.timestamp()
    assert result.label in [each.label for each in result.probabilities]
    assert headers(message) == {
        "data-type": "wine",
        "model": serving["name"],
        "model-version": str(serving["version"]),
        "model-sha256": serving["sha256"],
    }


def test_poison_goes_to_the_dead_letters_alone_with_its_bytes_and_the_reason(
    world_of_both: World,
) -> None:
    poison: dict[int, bytes | None] = {5: b"\xff\xff", 8: wine(1, "beer"), 13: b"", 17: None}
    world_of_both.create_topics()
    world_of_both.produce("wine", [poison.get(n, wine(n)) for n in range(400)], partition=2)
    world_of_both.start_face()
    world_of_both.wait_consumed()
    letters = {each.source.offset: each for each in world_of_both.dead_letters() if each.source}
    assert {n: letter.value for n, letter in letters.items()} == poison
    assert [letters[n].code for n in (5, 8, 13)] == [
        "invalid_record",
        "wrong_data_type",
        "invalid_record",
    ]
    assert offsets(world_of_both.results()) == {2: [n for n in range(400) if n not in poison]}


def test_a_dead_letter_can_be_sorted_by_its_headers(world: World) -> None:
    world.create_topics()
    world.produce("wine", [b"\xff"])
    world.start_face()
    world.wait_consumed()
    [message] = world.read("dead")
    assert message.key() == b"0"
    assert headers(message)["dead-letter-code"] == "invalid_record"
    assert headers(message)["dead-letter-data-type"] == "wine"
    assert "WineRecord" in headers(message)["dead-letter-reason"]


def test_a_result_that_would_be_too_large_leaves_the_record_out(world_of_both: World) -> None:
    world_of_both.create_topics()
    world_of_both.create_topics("results", **{"max.message.bytes": "7000"})
    records = [wine(1) + UNKNOWN_FIELD, *wines(200)]
    world_of_both.produce("wine", records, partition=0)
    world_of_both.start_face()
    world_of_both.wait_consumed()
    assert [result.record for result in world_of_both.results()] == [b"", *records[1:]]


def test_a_kill_loses_no_record_and_repeats_none_that_was_committed(world: World) -> None:
    world.create_topics()
    world.produce("wine", wines(6000))
    face = world.start_face()
    world.wait_consumed()
    world.produce("wine", wines(6000))
    for count in (6500, 8500):
        world.wait_count("results", count)
        face.kill()
        face.start()
    world.wait_consumed()
    found = offsets(world.results())
    assert distinct(found) == every(3000)
    assert {p: [n for n in each if n < 1500] for p, each in found.items()} == every(1500)


def test_a_face_that_is_killed_is_back_without_waiting_for_its_session_to_end(
    world: World,
) -> None:
    world.create_topics()
    face = world.start_face()
    world.produce("wine", wines(4))
    world.wait_consumed()
    face.kill()
    face.start()
    world.produce("wine", wines(4))
    world.wait_count("results", 8, timeout=5)


def test_a_stop_in_mid_stream_commits_what_is_done_and_scores_nothing_twice(
    world_of_both: World,
) -> None:
    world_of_both.create_topics()
    world_of_both.produce("wine", wines(40_000))
    face = world_of_both.start_face()
    world_of_both.wait_count("results", 500)
    assert face.stop() == 0
    assert not world_of_both.consumed()
    face.start()
    world_of_both.wait_consumed()
    assert offsets(world_of_both.results()) == every(10_000)


def test_a_broker_that_is_restarted_loses_no_record(world: World) -> None:
    world.create_topics()
    world.produce("wine", wines(3000))
    face = world.start_face()
    world.wait_count("results", 300)
    world.broker.kill()
    world.broker.start()
    world.produce("wine", wines(1000))

    def consumed() -> object:
        # A commit that waited for the broker longer than the session lasts is fenced, which no
        # consumer survives: a new process goes on.
        face.revive()
        return world.consumed()

    wait_until(consumed, "all of wine is committed", 30)
    assert distinct(offsets(world.results())) == every(1000)


def test_a_face_waits_for_a_broker_that_is_not_there_yet(world: World) -> None:
    world.broker.stop()
    face = world.start_face()
    wait_until(lambda: face.says("no broker answers"), "the face says why it waits")
    world.broker.start()
    wait_until(lambda: face.says("partitions are assigned"), "the face works")
    assert face.says("no broker answers") == 1
    assert face.process.poll() is None


def test_records_wait_for_their_first_model_and_hold_up_no_other_type(
    world: World, publish: Any, wine_models: Path
) -> None:
    world.create_topics()
    face = world.start_face()
    world.produce("late", wines(6000, "late"))
    wait_until(lambda: face.says("no_model"), "the face says that records wait")
    world.produce("wine", wines(2000))
    world.wait_consumed("wine")
    assert offsets(world.results(), "late") == {}
    publish("late", wine_models / "05-mlp.onnx")
    world.wait_consumed("late")
    assert offsets(world.results(), "late") == every(1500)
    assert offsets(world.results(), "wine") == every(500)


def test_a_second_face_takes_its_share_and_nothing_is_lost_or_out_of_order(
    world_of_both: World,
) -> None:
    world_of_both.nodes = ("a", "b")
    world_of_both.create_topics()
    first = world_of_both.start_face("a")
    world_of_both.produce("wine", wines(4000))
    world_of_both.wait_count("results", 200)
    second = world_of_both.start_face("b")
    wait_until(lambda: second.says('["'), "the second face has partitions", 20)
    world_of_both.produce("wine", wines(4000))
    world_of_both.wait_count("results", 5000)
    first.stop()
    world_of_both.wait_consumed()
    assert offsets(world_of_both.results()) == every(2000)


def test_the_face_reports_to_its_router(world: World) -> None:
    world.create_topics()
    world.produce("wine", [*wines(40), b"\xff"])
    world.start_face()
    world.wait_consumed()

    def report() -> Any:
        return world.ask("status")["faces"].get("streams:streams", {})

    wait_until(lambda: report().get("lag"), "the face reports its lag")
    last = report()
    assert (last["records"], last["scored"], last["failed"]) == (41, 40, {"invalid_record": 1})
    assert sum(last["lag"].values()) == 0
    assert last["streams"]["wine"] == {"queued": 0, "in_flight": 0, "lag": 0}
    assert last["latency_ms"]["p99"] > 0


def test_a_face_that_is_to_end_does_not_wait_for_a_broker_that_is_away(
    world_of_both: World,
) -> None:
    world_of_both.create_topics()
    world_of_both.produce("wine", wines(2000))
    face = world_of_both.start_face()
    world_of_both.wait_count("results", 100)
    world_of_both.broker.kill()
    began = time.monotonic()
    code = face.stop()
    seconds = time.monotonic() - began
    world_of_both.broker.start()
    assert code == 0
    assert seconds < 3, "the supervisor would have killed it"
    face.start()
    world_of_both.wait_consumed()
    assert distinct(offsets(world_of_both.results())) == every(500)


def test_a_face_ends_when_another_takes_its_place_in_the_group(world_of_both: World) -> None:
    world_of_both.create_topics()
    first = world_of_both.start_face()
    world_of_both.produce("wine", wines(4))
    world_of_both.wait_consumed()
    world_of_both.start_face("a")
    assert first.process.wait(20) != 0
    world_of_both.produce("wine", wines(4))
    world_of_both.wait_consumed()


def test_a_face_ends_when_a_result_is_refused_and_its_successor_does_better(
    world: World,
) -> None:
    world.create_topics()
    face = world.start_face()
    world.produce("wine", wines(4))
    world.wait_consumed()
    world.change_topic("results", "max.message.bytes", "2500")
    world.produce("wine", [wine(1) + UNKNOWN_FIELD], partition=0)
    assert face.process.wait(20) != 0
    assert face.says("the broker refuses a result")
    assert not world.consumed()
    face.start()
    world.wait_consumed()
    assert offsets(world.results())[0] == [0, 1]
