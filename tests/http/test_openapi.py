"""The OpenAPI document: it is valid, all endpoints are in it, and it tells each what it may know."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.http.security_world import World

Document = dict[str, Any]
# The page, and what it and that of the document are made of: nobody calls them by a document.
FILES = {"/", "/page/{file}", "/docs/{file}"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A face of two data types."""
    world = World(tmp_path)
    yield world
    await world.close()


async def document_for(world: World, headers: dict[str, str] | None = None) -> Document:
    reply = await world.ask("GET", "/openapi.json", headers)
    assert (reply.status, reply.content_type) == (200, "application/json")
    found: Document = await reply.json()
    return found


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"{method.upper()} {path}", told


@pytest.mark.parametrize("tokens", [False, True])
async def test_the_document_is_valid(world: World, tokens: bool) -> None:
    document = await document_for(world, world.token("read") if tokens else None)
    assert [str(each) for each in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_every_endpoint_is_in_the_document(world: World) -> None:
    told = {name for name, _ in operations(await document_for(world))}
    routes = [route for route in world.app().router.routes() if route.resource is not None]
    there = {(each.method, each.resource.canonical) for each in routes if each.resource}
    assert told == {f"{method} {path}" for method, path in there if path not in FILES}


async def test_the_index_lists_what_the_document_tells(world: World) -> None:
    told = {name: each["summary"] for name, each in operations(await document_for(world))}
    assert (await (await world.ask("GET", "/")).json())["endpoints"] == told


async def test_operations_have_names_of_their_own(world: World) -> None:
    names = [told["operationId"] for _, told in operations(await document_for(world))]
    assert len(set(names)) == len(names)


async def test_records_are_described_by_their_features(world: World) -> None:
    schemas = (await document_for(world))["components"]["schemas"]
    features = list(world.config.data_types["wine"].features)
    assert schemas["DataTypeName"]["enum"] == ["cider", "wine"]
    assert schemas["Record.wine"]["required"] == features
    assert schemas["Record.wine"]["properties"]["pH"] == {"type": "number", "format": "double"}


async def test_where_everybody_is_let_in_no_credentials_are_asked_for(world: World) -> None:
    document = await document_for(world)
    assert not any("security" in told for _, told in operations(document))
    assert "securitySchemes" not in document["components"]


async def test_credentials_are_asked_for_where_they_are_needed(world: World) -> None:
    document = await document_for(world, world.token("read"))
    guarded = {name for name, told in operations(document) if "security" in told}
    roles = {name: told["x-repertory-role"] for name, told in operations(document)}
    assert guarded == {name for name, role in roles.items() if role != "open"}
    assert roles["PUT /policies/{dataType}"] == "publish"
    assert list(document["components"]["securitySchemes"]) == ["bearer", "basic"]


async def test_who_may_not_see_a_data_type_is_not_told_of_it(world: World) -> None:
    document = await document_for(world, world.token("score", data_types=["cider"]))
    assert document["components"]["schemas"]["DataTypeName"]["enum"] == ["cider"]
    assert "wine" not in str(document)
