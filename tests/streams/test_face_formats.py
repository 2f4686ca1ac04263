"""The Kafka face with mixed topics, JSON records and JSON results, on a real broker and node."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from confluent_kafka import Message
from google.protobuf import json_format

from repertory.protos.results_pb2 import ScoredRecord
from repertory.protos.winerecord_pb2 import WineRecord

World = Any  # tests/streams/conftest.py has it

PARTITIONS = 4


def wine(number: int, data_type: str = "") -> WineRecord:
    """Return a plausible wine whose sugar is its number."""
    return WineRecord(residual_sugar=number, density=0.997, pH=3.5, alcohol=9, dataType=data_type)


def as_json(number: int, data_type: str = "") -> bytes:
    """Return it as a JSON object."""
    features = [
        *("fixed_acidity", "volatile_acidity", "citric_acid", "chlorides", "sulphates"),
        *("free_sulfur_dioxide", "total_sulfur_dioxide"),
    ]
    record = dict.fromkeys(features, 0.5) | {"residual_sugar": number, "density": 0.997}
    said = {"dataType": data_type} if data_type else {}
    return json.dumps(record | {"pH": 3.5, "alcohol": 9} | said).encode()


def configure(world: World, kafka: Mapping[str, Any] | None = None, **wine: Any) -> None:
    """Change the configuration of the faces: its kafka section, and the data type `wine`."""
    document = yaml.safe_load(world.config_path.read_text())
    document["kafka"] |= kafka or {}
    document["data_types"]["wine"] |= wine
    world.config_path.write_text(yaml.safe_dump(document))


def produce(
    world: World, topic: str, records: list[tuple[bytes, Mapping[str, bytes]]], partition: int = 1
) -> None:
    """Write records with headers to one partition."""
    producer = world.producer()
    for value, headers in records:
        name = world.topic(topic)
        producer.produce(name, value, b"key", partition=partition, headers=dict(headers))
    assert producer.flush(20) == 0


def headers_of(message: Message) -> dict[str, bytes]:
    """Return the headers of a message."""
    return dict(message.headers() or [])  # type: ignore[arg-type]


@pytest.fixture
def mixed(world_of_both: World) -> World:
    """A world with a mixed topic."""
    configure(world_of_both, {"mixed_topics": [world_of_both.topic("mixed")]})
    world_of_both.create_topics("wine", "late", "mixed")
    return world_of_both


def test_records_of_a_mixed_topic_say_their_data_type_by_header_or_field(mixed: World) -> None:
    records: list[tuple[bytes, Mapping[str, bytes]]] = [
        (wine(0).SerializeToString(), {"dataType": b"wine"}),
        (wine(1, "wine").SerializeToString(), {}),
        (wine(2).SerializeToString(), {"dataType": b"beer"}),
        (wine(3).SerializeToString(), {}),
        (b"\xff\xff", {"dataType": b"wine"}),
        (wine(5).SerializeToString(), {"dataType": b"wine"}),
    ]
    produce(mixed, "mixed", records)
    mixed.start_face()
    mixed.wait_consumed("mixed")
    assert [result.source.offset for result in mixed.results()] == [0, 1, 5]
    codes = {each.source.offset: each.code for each in mixed.dead_letters()}
    assert codes == {2: "unknown_data_type", 3: "unknown_data_type", 4: "invalid_record"}


def test_records_of_a_mixed_topic_are_written_in_their_order(mixed: World) -> None:
    values = [wine(n).SerializeToString() for n in range(3000)]
    produce(mixed, "mixed", [(value, {"dataType": b"wine"}) for value in values])
    mixed.start_face()
    mixed.wait_consumed("mixed")
    assert [result.source.offset for result in mixed.results()] == list(range(3000))


def test_json_records_are_scored_like_protobuf_ones(world: World) -> None:
    configure(world, value_format="json")
    world.create_topics()
    produce(world, "wine", [(as_json(1), {}), (b'{"pH": 3', {}), (as_json(2, "wine"), {})])
    world.start_face()
    world.wait_consumed()
    assert [result.record for result in world.results()] == [as_json(1), as_json(2, "wine")]
    assert [letter.value for letter in world.dead_letters()] == [b'{"pH": 3']


def test_results_can_be_json(world_of_both: World) -> None:
    world = world_of_both
    configure(world, {"result_format": "json"}, value_format="json")
    world.create_topics()
    produce(world, "wine", [(as_json(1), {})])
    world.start_face()
    world.wait_consumed()
    [message] = world.read("results")
    found = json.loads(message.value())
    assert found.pop("record") == json.loads(as_json(1))
    result = json_format.ParseDict(found, ScoredRecord())
    assert (result.data_type, result.source.partition) == ("wine", 1)
    assert result.label in [each.label for each in result.probabilities]


def test_results_keep_the_headers_of_their_records(world: World) -> None:
    world.create_topics()
    produce(world, "wine", [(wine(1).SerializeToString(), {"traceparent": b"00-7"})])
    world.start_face()
    world.wait_consumed()
    [message] = world.read("results")
    assert headers_of(message)["traceparent"] == b"00-7"
    assert headers_of(message)["data-type"] == b"wine"


def test_a_header_that_says_another_data_type_than_the_topic_is_a_dead_letter(
    world: World,
) -> None:
    world.create_topics()
    value = wine(1).SerializeToString()
    produce(world, "wine", [(value, {"dataType": b"late"}), (value, {"dataType": b"wine"})])
    world.start_face()
    world.wait_consumed()
    [letter] = world.dead_letters()
    assert (letter.code, letter.source.offset) == ("wrong_data_type", 0)
    assert len(world.results()) == 1


def test_data_types_of_both_guarantees_live_in_one_face(world: World) -> None:
    configure(world, {"mixed_topics": [world.topic("mixed")]}, delivery="exactly-once")
    world.create_topics("wine", "late", "mixed")
    produce(world, "wine", [(wine(n).SerializeToString(), {}) for n in range(500)])
    header = {"dataType": b"wine"}
    produce(world, "mixed", [(wine(n).SerializeToString(), header) for n in range(500)])
    world.start_face()
    world.wait_consumed("wine")
    world.wait_consumed("mixed")
    sources = Counter(result.source.topic for result in world.results())
    assert sources == {world.topic("wine"): 500, world.topic("mixed"): 500}
