"""What a client that watches a data type sees."""

from pathlib import Path

import pytest
from aiohttp import web
from tests.client.conftest import Serve

from repertory.client import AsyncClient, Client, Model, UnknownDataType


def state(version: int) -> web.Response:
    return web.json_response(
        {"dataType": "wine", "name": "m", "version": version, "sha256": f"{version}"}
    )


def none_serves() -> web.Response:
    return web.json_response({"error": "retired"}, status=503)


def broken() -> web.Response:
    return web.json_response({"error": "too slow"}, status=504)


async def test_what_is_on_stage_comes_at_once_and_then_each_change(serve: Serve) -> None:
    replies = [state(1), state(1), broken(), state(2), none_serves(), none_serves(), state(1)]
    script, seen = await serve(*replies), list[Model | None]()
    async with AsyncClient(script.url) as client:
        async for stage in client.watch("wine", every=0.001):
            seen.append(stage.model)
            if len(seen) == 4:
                break
    assert seen == [Model("m", 1, "1"), Model("m", 2, "2"), None, Model("m", 1, "1")]
    assert len(script.asked) == 7


def test_a_new_model_is_seen_on_a_real_node(client: Client, wine_models: Path) -> None:
    first = client.publish("cider", wine_models / "03-linear-regression.pmml", name="line")
    watch = client.watch("cider", every=0.05)
    second = client.publish("cider", wine_models / "05-mlp.onnx") if next(watch).model else first
    seen = next(watch).model
    assert seen == Model("05-mlp", second.version or 0, second.sha256)


def test_the_slots_of_a_policy_are_seen(client: Client, mead: str) -> None:
    stage = next(client.watch(mead))
    assert stage.policy is not None
    assert list(stage.slots) == ["forest", "net"]
    assert stage.slots["forest"] == stage.model


def test_a_data_type_that_is_not_there_is_not_waited_for(client: Client) -> None:
    with pytest.raises(UnknownDataType):
        next(client.watch("beer"))
