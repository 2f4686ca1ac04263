"""A client against a real node: models, policies, and what the node tells."""

from pathlib import Path

import pytest

from repertory.actors.local_node import LocalNode
from repertory.client import AsyncClient, Client, InvalidRequest, NoModel, Rejected, UnknownDataType


def test_a_published_model_serves_and_is_named_after_its_file(
    client: Client, wine_models: Path
) -> None:
    published = client.publish("cider", wine_models / "05-mlp.onnx", description="small")
    (version,) = [each for each in client.versions("cider") if each.version == published.version]
    assert (published.state, published.name) == ("SERVING", "05-mlp")
    assert (version.sha256, version.description) == (published.sha256, "small")
    assert [each.state for each in version.history][-1] == "SERVING"
    assert version.published is not None
    assert version.published.tzinfo is not None


def test_a_model_may_come_as_bytes_and_need_not_be_waited_for(
    client: Client, wine_models: Path
) -> None:
    content = (wine_models / "03-linear-regression.pmml").read_bytes()
    published = client.publish("cider", content, name="line", model_type="PMML", wait=False)
    assert published.state == "PUBLISHED"
    assert published.version is not None


def test_a_rejected_model_raises_with_the_reason_and_the_version(client: Client) -> None:
    with pytest.raises(Rejected) as caught:
        client.publish("cider", b"no model", name="junk", model_type="ONNX")
    assert caught.value.reason == "the content does not look like a model of type ONNX"
    (newest, *_) = client.versions("cider")
    assert caught.value.version == newest.version
    assert "junk version" in str(caught.value)


def test_bytes_without_a_name_and_a_file_that_is_not_there_are_refused_before_they_are_sent(
    client: Client, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="needs a name"):
        client.publish("wine", b"model")
    with pytest.raises(FileNotFoundError):
        client.publish("wine", tmp_path / "absent.onnx")


def test_a_model_is_retired_and_rolled_back_to(client: Client, wine_models: Path) -> None:
    published = client.publish("perry", wine_models / "05-mlp.onnx")
    assert published.version is not None
    assert client.retire("perry").state == "RETIRED"
    with pytest.raises(NoModel, match="was retired at"):
        client.state("perry")
    assert client.rollback("perry", published.version).state == "SERVING"
    assert client.state("perry").sha256 == published.sha256


def test_a_policy_is_put_in_force_rejected_and_removed(client: Client) -> None:
    before = len(client.policies("wine"))
    with pytest.raises(Rejected, match="slot 'beech' has no model"):
        client.set_policy(
            "wine", {"policy": "majority", "slots": ["02-random-forest", "beech", "elm"]}
        )
    policy = client.set_policy("wine", {"policy": "latest"}, description="the newest")
    assert client.policy("wine") == policy
    assert client.roll_back_policy("wine", policy.version).settings == {"policy": "latest"}
    assert client.remove_policy("wine").state == "IN_FORCE"
    assert client.policy("wine") is None
    assert len(client.policies("wine")) == before + 4


def test_what_a_node_tells_of_itself(client: Client, node: LocalNode) -> None:
    (wine,) = [each for each in client.models() if each.data_type == "wine"]
    assert wine.name == client.state("wine").name == "02-random-forest"
    assert client.health().ready
    assert client.cluster()["node"] == client.status()["node"] == "a"
    assert client.features("wine") == node.config.data_types["wine"].features


def test_what_is_not_there_is_told_in_the_nodes_words(client: Client) -> None:
    with pytest.raises(UnknownDataType, match="no data type 'beer' is declared"):
        client.state("beer")
    with pytest.raises(InvalidRequest, match="version"):
        client.rollback("wine", -1)


async def test_the_asynchronous_client_does_the_same(node: LocalNode, wine_models: Path) -> None:
    async with AsyncClient(node.url) as client:
        published = await client.publish("perry", wine_models / "05-mlp.onnx", name="mlp")
        versions = await client.versions("perry")
        with pytest.raises(Rejected):
            await client.publish("perry", b"no model", name="junk", model_type="ONNX")
    assert versions[0].version == published.version
