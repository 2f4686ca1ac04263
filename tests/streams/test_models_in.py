"""Models that come over Kafka."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from repertory.actors.local_node import wait_until
from repertory.errors import InvalidRequest, Unavailable
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.policy_pb2 import Policy
from repertory.protos.results_pb2 import ScoredRecord
from repertory.streams.publish import publish_model, publish_policy

World = Any  # tests/streams/conftest.py has it


def send(world: World, file: Path, name: str) -> None:
    """Publish a model of wines over Kafka."""
    publish_model(
        file,
        bootstrap_servers=world.broker.bootstrap_servers,
        topic=world.topic("models"),
        data_type="wine",
        name=name,
    )


def wait_serving(world: World, name: str) -> None:
    """Wait until the model of this name serves wines."""

    def serves() -> bool:
        return ("wine", name) in [(m["dataType"], m["name"]) for m in world.ask("models")["models"]]

    wait_until(serves, f"the model {name} serves")


def test_a_model_that_comes_over_kafka_serves(world: World, wine_models: Path) -> None:
    world.start_face()
    wait_until(lambda: world.count("models") == 0, "the topic is there")
    send(world, wine_models / "05-mlp.onnx", name := f"over-kafka-{world.prefix}")
    wait_serving(world, name)


def test_a_face_without_topics_of_records_takes_models_in(world: World, wine_models: Path) -> None:
    """Records may come over HTTP alone."""
    document = yaml.safe_load(world.config_path.read_text())
    for data_type in document["data_types"].values():
        data_type["topics"] = []
    world.config_path.write_text(yaml.safe_dump(document))
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    send(world, wine_models / "05-mlp.onnx", name := f"only-models-{world.prefix}")
    wait_serving(world, name)
    wait_until(lambda: "streams:streams" in world.ask("status")["faces"], "the face is well")
    assert face.stop() == 0


def test_a_model_is_published_once_however_often_it_is_read(
    world: World, wine_models: Path
) -> None:
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    send(world, wine_models / "05-mlp.onnx", name := f"once-{world.prefix}")
    wait_serving(world, name)
    other = world.start_face("b")  # which has read nothing yet
    wait_until(lambda: other.says("is handed to the keeper"), "the model is read again")
    versions = world.ask("versions", data_type="wine")["versions"]
    assert [each["name"] for each in versions].count(name) == 1


def retire(world: World, key: bytes | None) -> None:
    """Write a tombstone to the models topic."""
    producer = world.producer()
    producer.produce(world.topic("models"), None, key, partition=0)
    assert producer.flush(20) == 0


def test_a_tombstone_retires_its_data_type_and_records_wait_for_the_next_model(
    world: World, wine_models: Path, make_wine: Any
) -> None:
    world.create_topics()
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topics are there")
    send(world, wine_models / "05-mlp.onnx", name := f"before-{world.prefix}")
    wait_serving(world, name)
    retire(world, b"wine")
    wait_until(lambda: world.ask("models")["models"] == [], "no wine is served")
    world.produce("wine", [make_wine(1)], partition=0)
    wait_until(lambda: face.says("was retired at"), "the record waits")
    assert (world.count("results"), world.count("dead")) == (0, 0)
    send(world, wine_models / "02-random-forest.onnx", f"after-{world.prefix}")
    world.wait_consumed()
    assert [result.model.name for result in world.results()] == [f"after-{world.prefix}"]


def test_a_tombstone_that_is_read_again_retires_nothing_that_came_after_it(
    world: World, wine_models: Path
) -> None:
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    retire(world, b"wine")
    send(world, wine_models / "05-mlp.onnx", name := f"once-{world.prefix}")
    wait_serving(world, name)
    other = world.start_face("b")  # which has read nothing yet
    wait_until(lambda: other.says("is handed to the keeper"), "both are read again")
    retire(world, b"late")  # what comes after everything else is done
    wait_until(lambda: other.says("is retired") == 2, "all is read")
    wait_serving(world, name)


@pytest.mark.parametrize("key", [b"beer", b"\xff", None])
def test_a_tombstone_of_nothing_that_is_declared_is_passed_over_in_sight(
    world: World, key: bytes | None
) -> None:
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    retire(world, key)
    wait_until(lambda: face.says("a message without a value is passed over"), "it is said")
    assert world.count("dead") == 0


def test_a_models_topic_that_loses_models_is_warned_of(world: World) -> None:
    world.create_topics("models", **{"cleanup.policy": "compact"})
    face = world.start_face()
    wait_until(lambda: face.says("the models topic is not kept whole"), "the warning")


def test_garbage_is_a_dead_letter_and_what_has_no_value_is_passed_over(
    world: World, wine_models: Path
) -> None:
    world.start_face()
    wait_until(lambda: world.count("models") == 0, "the topic is there")
    nobody = ModelDescriptor(name="x", dataType="beer", data=b"y").SerializeToString()
    world.produce("models", [b"\xffgarbage", None, nobody], partition=0)
    send(world, wine_models / "02-random-forest.onnx", name := f"after-{world.prefix}")
    wait_serving(world, name)
    letters = world.dead_letters()
    assert {letter.source.offset: letter.code for letter in letters} == dict.fromkeys(
        (0, 2), "rejected"
    )
    assert {letter.value for letter in letters} == {b"\xffgarbage", nobody}
    assert any("beer" in letter.reason for letter in letters)


def send_policy(world: World, settings: str, description: str) -> None:
    """Publish a policy of wines over Kafka."""
    publish_policy(
        "wine",
        settings,
        bootstrap_servers=world.broker.bootstrap_servers,
        topic=world.topic("models"),
        description=description,
    )


def policies(world: World) -> list[tuple[str, str]]:
    """Return the history of the policies of wines that this test published: state and reason."""
    found = world.ask("policies", data_type="wine")["policies"]
    mine = [policy for policy in found if world.prefix in policy["description"]]
    return [(policy["state"], policy["reason"]) for policy in mine]


def test_a_policy_that_comes_over_kafka_is_judged_and_one_without_a_value_removes_it(
    world: World,
) -> None:
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    send_policy(world, '{"policy": "latest", "slots": ["no-such"]}', f"oak of {world.prefix}")
    send_policy(world, '{"policy": "latest"}', f"the newest of {world.prefix}")
    produce_policy(world, None, b"wine")
    wait_until(lambda: face.says("a policy is handed to the keeper") == 3, "all are handed over")
    wait_until(lambda: [state for state, _ in policies(world)] == ["REPLACED", "REJECTED"], "so")
    assert "no-such" in policies(world)[1][1]
    assert world.count("dead") == 0


def produce_policy(world: World, value: bytes | None, key: bytes, *more: tuple[Any, ...]) -> None:
    """Write to the models topic what says that it is a policy."""
    producer = world.producer()
    headers = [("message-type", b"policy"), *more]
    producer.produce(world.topic("models"), value, key, partition=0, headers=headers)
    assert producer.flush(20) == 0


def test_what_is_no_policy_is_a_dead_letter(world: World) -> None:
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topic is there")
    bad = [
        (b"\xff no policy", "no Policy message"),
        (Policy(dataType="beer", settings="{}").SerializeToString(), "'beer'"),
        (Policy(settings="{").SerializeToString(), "JSON"),
        (bytes(300_000), "over the limit"),
    ]
    for value, _ in bad:
        produce_policy(world, value, b"wine", ("who", b"me"))
    world.wait_count("dead", len(bad))
    letters = sorted(world.dead_letters(), key=lambda letter: letter.source.offset)
    assert [why in letter.reason for letter, (_, why) in zip(letters, bad, strict=True)] == (
        [True] * len(bad)
    ), letters
    assert {letter.code for letter in letters} == {"rejected"}


def test_a_policy_that_is_none_is_not_published() -> None:
    with pytest.raises(InvalidRequest, match="policy"):
        publish_policy("wine", '{"slots": []}', bootstrap_servers="127.0.0.1:1")


def test_a_policy_that_brokers_do_not_take_is_named() -> None:
    with pytest.raises(Unavailable, match=r"the policy of 'wine' was not published to 'models' at"):
        publish_policy(
            "wine", "", bootstrap_servers="127.0.0.1:1", properties={"message.timeout.ms": 100}
        )


def test_results_say_which_model_made_them_while_models_change(
    world: World, wine_models: Path, make_wine: Any
) -> None:
    world.create_topics()
    face = world.start_face()
    wait_until(lambda: face.says("the topics are there"), "the topics are there")
    for number, file in enumerate(("05-mlp.onnx", "02-random-forest.onnx")):
        send(world, wine_models / file, name := f"change-{number}-{world.prefix}")
        wait_serving(world, name)
        world.produce("wine", [make_wine(each) for each in range(10)], partition=0)
        world.wait_consumed()
    results = [ScoredRecord.FromString(m.value()) for m in world.read("results")]
    versions = [result.model.version for result in results]
    assert versions == sorted(versions)
    assert len(set(versions)) == 2


def test_the_type_of_a_model_is_told_from_its_name_or_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"the model's type is not told by the name"):
        publish_model(tmp_path / "model", bootstrap_servers="127.0.0.1:1", data_type="wine")
    with pytest.raises(InvalidRequest, match="no model type 'joblib'; there are: TENSORFLOW"):
        publish_model(
            tmp_path / "m", bootstrap_servers="127.0.0.1:1", data_type="w", model_type="joblib"
        )


def test_brokers_that_do_not_answer_are_named(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x")
    with pytest.raises(Unavailable, match=r"was not published to 'models' at 127\.0\.0\.1:1: "):
        publish_model(
            model,
            bootstrap_servers="127.0.0.1:1",
            data_type="wine",
            properties={"message.timeout.ms": 100},
        )
