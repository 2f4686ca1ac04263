"""What a node tells of itself over HTTP."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.http.in_hand import InHand
from repertory.http.queries import Health, reasons
from repertory.http.replies import json_reply

ROOT = Path(__file__).parents[2]


async def test_models_that_serve_are_listed(call: Any, serving: Any) -> None:
    (model,) = (await call("GET", "/models")).body["models"]
    keys = ["dataType", "name", "description", "modelType", "version", "sha256", "since", "task"]
    assert list(model) == keys
    assert (model["dataType"], model["version"]) == ("wine", serving["version"])


@pytest.mark.usefixtures("serving")
async def test_processors_are_the_data_types_that_are_served(call: Any) -> None:
    assert (await call("GET", "/processors")).body == {"models": ["wine"]}


@pytest.mark.usefixtures("serving")
async def test_the_state_counts_records_and_failures(call: Any, wine: Any) -> None:
    await call("POST", "/score/wine", json=[wine(1), {}, wine(2)])
    state = (await call("GET", "/state/wine")).body
    assert (state["usage"], state["errors"], state["node"]) == (3, 1, "a")
    assert 0 < state["min"] <= state["max"] <= state["duration"]
    assert set(state["percentiles"]) == {"p50", "p90", "p99", "p999"}
    assert {"name", "description", "modelType", "since", "version", "sha256"} < set(state)


async def test_the_state_of_what_is_not_served_is_an_error(call: Any) -> None:
    unknown, idle = await call("GET", "/state/beer"), await call("GET", "/state/cider")
    assert (unknown.status, idle.status) == (404, 503)
    assert set(unknown.body) == set(idle.body) == {"error"}


@pytest.mark.usefixtures("serving")
async def test_a_node_whose_required_models_serve_is_ready(call: Any) -> None:
    ready = await call("GET", "/health/ready")
    assert (ready.status, ready.body["ready"]) == (200, True)
    assert (await call("GET", "/health/live")).body == {"live": True}


@pytest.mark.usefixtures("serving")
async def test_troubles_of_other_processes_are_the_reason_until_they_are_over(
    call: Any, shared_node: LocalNode
) -> None:
    trouble = "no broker answers at 127.0.0.1:9092"
    async with RouterClient(shared_node.paths.router_door, role="streams") as client:
        await client.connected.wait()
        client.tell("report", troubles=[trouble])
        await client.ask("health")  # the router has read what came before
        ready, status = await call("GET", "/health/ready"), await call("GET", "/status")
        client.tell("report", troubles=[])
        await client.ask("health")
        again = await call("GET", "/health/ready")
    assert (ready.status, ready.body["error"]) == (503, trouble)
    assert ready.body["troubles"] == status.body["troubles"] == {"streams": [trouble]}
    assert (again.status, again.body["troubles"]) == (200, {})


async def test_the_status_tells_of_data_types_and_faces(call: Any, shared_node: LocalNode) -> None:
    status = (await call("GET", "/status")).body
    assert set(status["data_types"]) == {"wine", "cider"}
    assert {"url": shared_node.url} in status["faces"].values()


async def test_the_index_lists_the_endpoints(call: Any) -> None:
    index = (await call("GET", "/")).body
    assert {"GET /models", "POST /models", "POST /score/{dataType}"} < set(index["endpoints"])
    documented = (ROOT / "docs" / "http.md").read_text()
    # Those of standard protocols, below /v1 and /v2, have pages of their own.
    own = [each for each in index["endpoints"] if " /v" not in each]
    assert [each for each in own if f"## `{each}`" not in documented] == []


async def test_a_face_that_drains_is_not_ready(shared_node: LocalNode) -> None:
    in_hand = InHand()
    await in_hand.drain(1)
    health = Health(RouterClient(shared_node.paths.router_door, role="test"), in_hand)
    reply = await health.ready(make_mocked_request("GET", "/health/ready"))
    assert reply.status == 503
    assert isinstance(reply.body, bytes)
    assert orjson.loads(reply.body)["ready"] is False


def test_all_reasons_are_told_in_one_sentence() -> None:
    troubles = {"streams": ["no broker answers"], "keeper": ["the journal is away"]}
    told = "; ".join(reasons({"waiting_for": ["wine", "beer"], "troubles": troubles}))
    assert told == "no model serves yet: wine, beer; no broker answers; the journal is away"


def test_numbers_that_json_has_not_become_null() -> None:
    body = json_reply({"values": [float("nan"), float("inf"), 1.5]}).body
    assert body == b'{"values":[null,null,1.5]}\n'
