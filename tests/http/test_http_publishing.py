"""`POST /models`, versions and roll back."""

import asyncio
import base64
import io
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from repertory.actors.local_node import LocalNode
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

PROTOBUF = {"Content-Type": "application/x-protobuf"}


async def serves(call: Any, published: Any) -> bool:
    """Tell whether a published version is what serves now."""
    state = (await call("GET", "/state/wine")).body
    return all(state[key] == published[key] for key in ("name", "version", "sha256"))


async def test_a_form_is_published(call: Any, publish: Any, model: Any, spool: Any) -> None:
    reply = await publish(model(0), name="form", description="A form", modelType="oNNx")
    assert (reply.status, reply.body["state"]) == (201, "SERVING")
    assert set(reply.body) == {"dataType", "name", "version", "sha256", "state"}
    assert await serves(call, reply.body)
    assert (await call("GET", "/state/wine")).body["description"] == "A form"
    assert spool() == []


async def test_the_file_may_come_before_the_fields(call: Any, model: Any) -> None:
    form = aiohttp.FormData({"name": "first", "dataType": "wine"})
    form.add_field("file", model(0), filename="x.onnx")
    assert (await call("POST", "/models", data=form)).status == 201


async def test_a_descriptor_is_published(call: Any, model: Any, spool: Any) -> None:
    descriptor = ModelDescriptor(
        name="descriptor", dataType="wine", modeltype=ModelDescriptor.ONNX, data=model(0)
    ).SerializeToString()
    reply = await call("POST", "/models", data=descriptor, headers=PROTOBUF)
    assert (reply.status, reply.body["name"]) == (201, "descriptor")
    assert await serves(call, reply.body)
    assert spool() == []


@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
async def test_json_with_base64_is_published(
    call: Any, model: Any, spool: Any, encode: Callable[[bytes], bytes]
) -> None:
    document = {"dataType": "wine", "name": "json", "data": encode(model(0)).decode()}
    reply = await call("POST", "/models", json=document)
    assert reply.status == 201
    assert await serves(call, reply.body)
    assert spool() == []


async def test_json_with_a_location_outside_the_roots_is_rejected(call: Any) -> None:
    document = {"dataType": "wine", "name": "x", "modelType": "ONNX", "location": "/etc/passwd"}
    reply = await call("POST", "/models", json=document)
    assert (reply.status, reply.body["state"]) == (422, "REJECTED")


async def test_who_does_not_wait_is_told_that_it_is_accepted(
    call: Any, publish: Any, model: Any
) -> None:
    reply = await publish(model(5), wait=False, name="later")
    assert reply.status in (201, 202)
    versions = (await call("GET", "/models/wine/versions")).body["versions"]
    while versions[0]["state"] != "SERVING":
        versions = (await call("GET", "/models/wine/versions")).body["versions"]
    assert versions[0]["version"] == reply.body["version"]


async def test_a_rejected_model_leaves_the_old_one_serving(
    call: Any, publish: Any, serving: Any
) -> None:
    reply = await publish(b"no model at all" * 10, modelType="ONNX")
    assert (reply.status, reply.body["state"]) == (422, "REJECTED")
    assert reply.body["error"] == reply.body["reason"] != ""
    assert await serves(call, serving)


async def test_a_model_of_no_known_format_is_rejected(publish: Any) -> None:
    reply = await publish(b"what is this?")
    assert (reply.status, reply.body["state"]) == (422, "REJECTED")
    assert "modelType" in reply.body["error"]


@pytest.mark.usefixtures("serving")
async def test_an_old_version_serves_again(call: Any, publish: Any, model: Any) -> None:
    old = (await publish(model(1), name="old")).body
    await publish(model(2), name="new")
    reply = await call("POST", "/models/wine/rollback", json={"version": old["version"]})
    assert (reply.status, reply.body["state"]) == (200, "SERVING")
    assert await serves(call, old)


async def test_a_retired_model_serves_no_more_until_one_is_rolled_back_to(
    call: Any, serving: Any, wine: Any
) -> None:
    gone = await call("DELETE", "/models/wine")
    assert (gone.status, gone.body["state"]) == (200, "RETIRED")
    assert gone.body["version"] == serving["version"]
    replies = [await call("GET", "/state/wine"), await call("POST", "/score/wine", json=wine(9))]
    assert [reply.status for reply in replies] == [503] * 2
    assert all("'wine' was retired at " in reply.body["error"] for reply in replies)
    assert (await call("GET", "/models")).body["models"] == []
    assert (await call("GET", "/models/wine/versions")).body["versions"][0]["state"] == "RETIRED"
    await call("POST", "/models/wine/rollback", json={"version": serving["version"]})
    assert await serves(call, serving)


async def test_what_does_not_serve_can_be_retired_any_number_of_times(call: Any) -> None:
    for _ in range(2):
        reply = await call("DELETE", "/models/cider")
        assert (reply.status, reply.body) == (200, {"dataType": "cider", "state": "RETIRED"})


async def test_versions_are_listed_with_states_times_and_reasons(call: Any, serving: Any) -> None:
    reply = await call("GET", "/models/wine/versions")
    assert reply.body["dataType"] == "wine"
    newest = reply.body["versions"][0]
    assert (newest["version"], newest["state"]) == (serving["version"], "SERVING")
    assert {"reason", "published", "servingSince", "retired", "history"} <= set(newest)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"version": 10**6}, 404),
        ({"version": 0}, 400),
        ({"version": True}, 400),
        ({"version": "1"}, 400),
        ({"version": 2**63}, 404),
        ({}, 400),
        ([1], 400),
    ],
)
async def test_a_roll_back_to_nothing_is_refused(call: Any, body: Any, status: int) -> None:
    reply = await call("POST", "/models/wine/rollback", json=body)
    assert (reply.status, set(reply.body)) == (status, {"error"})


async def test_unknown_data_types_are_named(call: Any, publish: Any, model: Any) -> None:
    replies = [
        await publish(model(0), dataType="beer"),
        await call("GET", "/models/beer/versions"),
        await call("POST", "/models/beer/rollback", json={"version": 1}),
        await call("DELETE", "/models/beer"),
    ]
    assert [reply.status for reply in replies] == [404] * 4
    assert all("'beer'" in reply.body["error"] for reply in replies)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": ""}, "name is missing"),
        ({"dataType": ""}, "dataType is missing"),
        ({"modelType": "onxx"}, "no modelType 'onxx'"),
        ({"datatype": "wine"}, "no form field 'datatype'"),
        ({"description": "x" * 70_000}, "longer than 65536 bytes"),
    ],
)
async def test_a_form_that_is_wrong_is_refused(
    publish: Any, model: Any, spool: Any, fields: dict[str, str], why: str
) -> None:
    reply = await publish(model(0), **fields)
    assert reply.status == 400
    assert why in reply.body["error"]
    assert spool() == []


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "the body is empty"),
        (b'{"name": }', "not JSON: "),
        (b"[1]", "a JSON object is due"),
        (b'{"dataType": "wine"}', "name is missing"),
        (b'{"dataType": "wine", "name": "x"}', "there is no model in this request"),
        (b'{"dataType": 3}', "dataType must be a string, not 3"),
        (b'{"datatype": "wine"}', "no key 'datatype'"),
        (b'{"data": "AA==", "location": "x"}', "not both"),
        (b'{"data": "AA==AA=="}', "not base64"),
        (b'{"data": "A"}', "not base64"),
        (b'{"data": "\xc3\xa4"}', "not base64"),
    ],
)
async def test_json_that_is_wrong_is_refused(
    call: Any, spool: Any, document: bytes, why: str
) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await call("POST", "/models", data=document, headers=headers)
    assert reply.status == 400
    assert why in reply.body["error"]
    assert spool() == []


async def test_a_descriptor_that_is_garbage_or_empty_is_rejected(call: Any, spool: Any) -> None:
    for body in (b"garbage", b""):
        reply = await call("POST", "/models", data=body, headers=PROTOBUF)
        assert (reply.status, reply.body["state"]) == (422, "REJECTED")
        assert spool() == []


BIG = b"\0" * (1024 * 1024 + 100_000)


def _forms() -> list[Any]:
    form = aiohttp.FormData({"dataType": "wine", "name": "big"})
    form.add_field("file", io.BytesIO(BIG), filename="big")
    encoded = base64.b64encode(BIG + BIG).decode()
    document = f'{{"dataType": "wine", "name": "big", "data": "{encoded}"}}'
    return [
        ({}, form),
        (PROTOBUF, io.BytesIO(BIG)),
        ({"Content-Type": "application/json"}, io.BytesIO(document.encode())),
    ]


@pytest.mark.parametrize("number", range(3))
async def test_a_model_beyond_the_limit_is_refused(call: Any, spool: Any, number: int) -> None:
    headers, data = _forms()[number]
    reply = await call("POST", "/models", data=data, headers=headers)
    assert reply.status == 413
    assert reply.body == {"error": "the model is larger than 1 MiB (models.max_mb)"}
    assert spool() == []


async def test_a_model_beyond_the_limit_of_no_announced_length_is_refused(call: Any) -> None:
    async def chunks() -> Any:
        for _ in range(64):
            yield BIG[:65536]

    reply = await call("POST", "/models", data=chunks(), headers=PROTOBUF)
    assert reply.status == 413


def _cut(kind: str, body: bytes, announced: int) -> bytes:
    head = f"POST /models HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {announced}\r\n\r\n".encode() + body


FORM = "multipart/form-data; boundary=cut"
PART = (
    b'--cut\r\nContent-Disposition: form-data; name="dataType"\r\n\r\nwine\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="name"\r\n\r\ncut\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="m"\r\n\r\n'
)


@pytest.mark.parametrize(
    ("kind", "start"),
    [("application/x-protobuf", b""), (FORM, PART), ("application/json", b'{"data": "')],
)
async def test_an_upload_that_is_cut_leaves_nothing(
    call: Any, shared_node: LocalNode, spool: Any, eventually: Any, kind: str, start: bytes
) -> None:
    before = (await call("GET", "/models/wine/versions")).body
    address = urlsplit(shared_node.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(_cut(kind, start + b"A" * 200_000, announced=800_000))
    await eventually(spool, "the upload begins")
    writer.close()
    await eventually(lambda: not spool(), "the spool is empty again")
    assert (await call("GET", "/models/wine/versions")).body == before


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n--cu", b"\r\n--cut"])
async def test_a_form_without_its_end_is_refused(
    call: Any, model: Any, spool: Any, end: bytes
) -> None:
    headers = {"Content-Type": FORM}
    body = PART + model(0) + end
    reply = await call("POST", "/models", data=body, headers=headers)
    assert reply.status == 400
    assert "cut short" in reply.body["error"]
    assert spool() == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=" + "x" * 100, b"long boundary"),
        (FORM, b"no form at all"),
        (FORM, b""),
        (FORM, b"--cut\r\n\r\nno name\r\n--cut--\r\n"),
        (FORM, PART + b"x\r\n" + PART + b"x\r\n--cut--\r\n"),
        (FORM, PART.replace(b"form-data", b"f\xffrm") + b"x\r\n--cut--\r\n"),
        (FORM, PART.replace(b"\r\nwine", b"Content-Transfer-Encoding: base64\r\n\r\nwine")),
        (FORM, PART.replace(b"wine", b"\xff\xfe") + b"x\r\n--cut--\r\n"),
        (FORM, b"--cut\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n--in--\r\n--cut--"),
        ("application/json; charset=\xff", b"{}"),
    ],
)
async def test_a_form_that_is_malformed_is_refused(
    call: Any, spool: Any, kind: str, body: bytes
) -> None:
    reply = await call("POST", "/models", data=body, headers={"Content-Type": kind})
    assert (reply.status, set(reply.body)) == (400, {"error"})
    assert spool() == []


async def test_wait_must_be_a_truth_value(call: Any) -> None:
    reply = await call("POST", "/models", params={"wait": "maybe"})
    assert reply.status == 400
    assert "'maybe'" in reply.body["error"]


async def test_many_publish_at_once(call: Any, publish: Any, model: Any) -> None:
    names = [uuid.uuid4().hex for _ in range(5)]
    replies = await asyncio.gather(*(publish(model(0), name=name) for name in names))
    assert [reply.body["name"] for reply in replies] == names
    assert len({reply.body["version"] for reply in replies}) == 5
    assert {reply.status for reply in replies} == {201}
