"""Nodes of two adjacent versions in one cluster: a real one, and one that speaks the previous one."""

import asyncio
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from tests.cluster.hosts import Hosts
from tests.cluster.previous_peer import PREVIOUS, SECONDS, SOFTWARE, PreviousPeer

from repertory.actors.handshake import OLDEST_PEER_PROTOCOL, PEER_PROTOCOL, Refused
from repertory.actors.local_node import LocalNode, wait_until
from repertory.protos.door_pb2 import Envelope, ScoredBatch
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.devbroker.process import BrokerProcess

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "wine" / "models" / "05-mlp.onnx"
WINE = WineRecord(fixed_acidity=7.4, density=0.9978, pH=3.51, alcohol=9.4)


def write_config(folder: Path, hosts: Hosts, brokers: str) -> Path:
    wine = yaml.safe_load((ROOT / "cluster.yaml").read_text())["data_types"]["wine"]
    a, b = (hosts[name].address for name in "ab")
    document = {
        "data_dir": str(folder / "data"),
        "nodes": {
            "a": {"host": a, "http_host": a, "only": ["wine"]},
            "b": {"host": b, "only": ["cider"]},
        },
        "kafka": {"bootstrap_servers": brokers},
        "journal": {"kind": "kafka"},
        "cluster": {"secret": "known to nodes of all versions"},
        "data_types": {name: {**wine, "topics": [f"{name}s"]} for name in ("wine", "cider")},
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Node a, which serves wine; node b's share is cider."""
    folder = tmp_path_factory.mktemp("upgrade")
    with Hosts("ab", loopback=True) as hosts, BrokerProcess(host=hosts.address) as broker:
        config = write_config(folder, hosts, broker.bootstrap_servers)
        node = LocalNode(config, log=folder / "node.log")
        node.start()
        try:
            node.wait_until(ready=False)
            publish_wine(node)
            yield node
        finally:
            node.kill()  # it would wait for somebody to hand wine over to
            node.wait_gone()


def publish_wine(node: LocalNode) -> None:
    descriptor = ModelDescriptor(name="mlp", dataType="wine", modeltype=ModelDescriptor.ONNX)
    descriptor.data = MODEL.read_bytes()
    headers = {"Content-Type": "application/x-protobuf"}
    post(f"{node.url}/models", descriptor.SerializeToString(), headers)
    wait_until(lambda: "a" in shard(node, "wine")["ready"], "node a serves wine", 60)


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, body, headers or {})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return orjson.loads(reply.read())


def shard(node: LocalNode, data_type: str) -> Any:
    return node.get("/cluster")["shards"][data_type]


def log(node: LocalNode) -> str:
    files = [*node.paths.logs.glob("*.log"), node.config_path.parent / "node.log"]
    return "".join(file.read_text() for file in files)


def member(node: LocalNode) -> Any:
    return node.get("/cluster/members/b")


def score_cider(node: LocalNode, count: int) -> Any:
    record = {field.name: 1.0 for field in WineRecord.DESCRIPTOR.fields[:11]}
    return post(f"{node.url}/score/cider", orjson.dumps([record] * count))


async def until(node: LocalNode, state: str) -> None:
    """Wait until node a takes node b to be in a state, without holding up what b does."""
    what = f"node b is {state}"
    await asyncio.to_thread(wait_until, lambda: member(node)["state"] == state, what)


async def test_the_previous_version_is_spoken_with_who_speaks_no_newer_one(node: LocalNode) -> None:
    async with PreviousPeer(node.config, {"cider": 3}) as peer:
        async with asyncio.timeout(SECONDS):
            found = await peer.met
        await until(node, "up")
        about = await asyncio.to_thread(member, node)
    assert (found.node, found.protocol) == ("a", PREVIOUS)
    assert (about["software"], about["protocol"]) == (SOFTWARE, PREVIOUS)


async def test_a_batch_is_scored_by_the_node_of_the_previous_version_that_owns_it(
    node: LocalNode,
) -> None:
    async with PreviousPeer(node.config, {"cider": 3}) as peer:
        reply = await asyncio.to_thread(score_cider, node, 3)
    assert (reply["model"]["name"], reply["model"]["version"]) == ("previous", 3)
    assert [each["value"] for each in reply["results"]] == [peer.answer] * 3
    assert peer.scored == 3


async def test_a_batch_of_a_node_of_the_previous_version_is_scored_here(node: LocalNode) -> None:
    async with PreviousPeer(node.config, {"cider": 3}) as peer:
        async with asyncio.timeout(SECONDS):
            await peer.met
        envelope, payload = await peer.score("wine", WINE.SerializeToString())
    assert envelope.kind == Envelope.SCORED
    scored = ScoredBatch.FromString(payload)
    assert scored.model_name == "mlp"
    assert list(scored.failures) == []


async def test_each_understands_what_the_other_serves(node: LocalNode) -> None:
    async with PreviousPeer(node.config, {"cider": 3}) as peer:
        await until(node, "up")
        assert (await asyncio.to_thread(shard, node, "cider"))["ready"] == {"b": 3}
        await asyncio.to_thread(node.wait_until, ready=True)  # for somebody serves cider
        await asyncio.to_thread(wait_until, lambda: peer.beats, "node a has told what it serves")
        told = peer.beats[-1]
        position = (await asyncio.to_thread(shard, node, "wine"))["ready"]["a"]
    assert (told["node"], told["leaving"]) == ("a", False)
    assert told["ready"] == {"wine": position}


async def test_one_that_is_stopped_to_be_upgraded_is_down_at_once(node: LocalNode) -> None:
    async with PreviousPeer(node.config, {"cider": 3}):
        await until(node, "up")
    await until(node, "down")
    assert (await asyncio.to_thread(member, node))["reason"] == "it has left"


async def test_a_node_that_speaks_neither_version_is_refused_and_all_are_named(
    node: LocalNode,
) -> None:
    ours, theirs = f"{OLDEST_PEER_PROTOCOL} to {PEER_PROTOCOL}", PEER_PROTOCOL + 1
    async with PreviousPeer(node.config, {}, protocol=theirs) as peer:
        with pytest.raises(Refused) as refused:
            async with asyncio.timeout(SECONDS):
                await peer.met
        why = f"node a speaks version {ours} of the protocol, node b version {theirs}"
        logged = f"it refuses us: {why}: upgrade the older one"
        await asyncio.to_thread(wait_until, lambda: logged in log(node), "node a has told why")
    assert str(refused.value) == (
        f"node b speaks version {theirs} of the protocol, node a version {ours}:"
        " upgrade the older one"
    )


def test_the_previous_version_is_the_one_before_ours() -> None:
    assert (OLDEST_PEER_PROTOCOL, PEER_PROTOCOL) == (PREVIOUS, PREVIOUS + 1)
