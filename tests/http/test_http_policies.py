"""Policies over HTTP: put, shown, refused, rolled back and removed, on a node that runs."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

DEADLINE = {"policy": "deadline", "slots": ["one", "two"], "deadlineMs": 2000}
MAJORITY = {"policy": "majority", "slots": ["one", "two"]}


@pytest.fixture
async def models(call: Any, publish: Any, model: Callable[[float], bytes]) -> AsyncIterator[None]:
    """Have a model `one` that answers a wine's alcohol, and `two` that says 0.5 more."""
    for name, bias in (("one", 0.0), ("two", 0.5)):
        assert (await publish(model(bias), name=name)).status == 201
    yield
    assert (await call("DELETE", "/policies/wine")).status == 200


@pytest.fixture
def put(call: Any) -> Callable[..., Any]:
    """Put a policy of wine."""

    async def put(document: dict[str, Any], **parameters: str) -> Any:
        return await call("PUT", "/policies/wine", json=document, params=parameters)

    return put


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"policy": "latest",', "the body is not JSON: unexpected end of data: line 1 column 21"),
        ("[]", 'the body must be an object such as {"policy": "deadline", '),
        ("{}", "policy is missing"),
        ('{"policy": "bayes"}', "there is no policy 'bayes'; there are: canary, deadline, latest"),
        (
            '{"policy": "latest", "slot": ["one"]}',
            "slot: unknown key; there are: policy, slots, deadlineMs",
        ),
        ('{"policy": "majority", "slots": ["one", "one"]}', "'one' is named 2 times"),
        ('{"policy": "deadline", "slots": ["one", "two"]}', "deadlineMs is missing"),
        ('{"policy": "latest", "options": {"share": 1}}', "options.share: unknown key"),
        ('{"policy": "latest", "tolerance": false}', "tolerance: Input should be a valid number"),
        ('{"policy": "latest", "description": 7}', "description must be a text, not 7"),
    ],
)
async def test_what_is_no_policy_is_refused_with_its_fault(
    body: str, message: str, call: Any
) -> None:
    reply = await call("PUT", "/policies/wine", data=body)
    assert (reply.status, set(reply.body)) == (400, {"error"})
    assert message in reply.body["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", ""), ("GET", ""), ("DELETE", ""), ("GET", "/versions"), ("POST", "/rollback")],
)
async def test_an_unknown_data_type_is_told(method: str, path: str, call: Any) -> None:
    body = {"version": 1} if path == "/rollback" else {"policy": "latest"}
    reply = await call(method, f"/policies/beer{path}", json=None if method == "GET" else body)
    assert reply.status == 404
    assert reply.body["error"].startswith("no data type 'beer' is declared in cluster.yaml")


async def test_what_never_had_a_policy_has_none_and_no_history(call: Any) -> None:
    none = await call("GET", "/policies/cider")
    assert (none.status, none.body) == (404, {"error": "'cider' has no policy"})
    versions = await call("GET", "/policies/cider/versions")
    assert (versions.status, versions.body) == (200, {"dataType": "cider", "policies": []})


@pytest.mark.usefixtures("models")
async def test_a_policy_is_in_force_when_the_reply_comes(put: Any, call: Any, wine: Any) -> None:
    reply = await put(DEADLINE | {"description": "one, or else two in time"})
    assert (reply.status, reply.body["state"], reply.body["settings"]) == (
        200,
        "IN_FORCE",
        DEADLINE,
    )
    shown = (await call("GET", "/policies/wine")).body
    assert (shown["version"], shown["policy"]) == (reply.body["version"], "deadline")
    assert shown["description"] == "one, or else two in time"
    scored = (await call("POST", "/score/wine", json=wine(9))).body
    assert (scored["policy"]["version"], scored["results"][0]["slot"]) == (shown["version"], "one")


@pytest.mark.usefixtures("models")
async def test_a_policy_that_does_not_fit_is_rejected_and_the_old_one_stays(
    put: Any, call: Any
) -> None:
    version = (await put(MAJORITY)).body["version"]
    reply = await put(DEADLINE | {"slots": ["one", "three"]})
    assert (reply.status, reply.body["state"]) == (422, "REJECTED")
    assert reply.body["error"] == reply.body["reason"]
    assert reply.body["reason"].startswith("slot 'three' has no model: publish one of this name")
    assert (await call("GET", "/policies/wine")).body["version"] == version


@pytest.mark.usefixtures("models")
async def test_a_deadline_that_the_fallback_cannot_meet_is_refused_with_the_numbers(
    put: Any,
) -> None:
    reply = await put(DEADLINE | {"deadlineMs": 0.001})
    assert reply.status == 422
    assert "deadlineMs 0.001 cannot be met: the fallback 'two', which is" in reply.body["reason"]


@pytest.mark.usefixtures("models")
async def test_who_does_not_wait_is_told_the_version_to_look_for(put: Any, call: Any) -> None:
    reply = await put(MAJORITY, wait="false")
    assert (reply.status, reply.body["state"]) == (202, "PUBLISHED")
    version = reply.body["version"]
    end = time.monotonic() + 20
    while (newest := (await versions(call))[0])["state"] == "PUBLISHED":
        assert time.monotonic() < end, newest
    assert (newest["version"], newest["state"]) == (version, "IN_FORCE")


async def versions(call: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await call("GET", "/policies/wine/versions")).body["policies"]
    return found


@pytest.mark.usefixtures("models")
async def test_an_earlier_policy_comes_back_as_a_new_version(put: Any, call: Any) -> None:
    first = (await put(DEADLINE)).body["version"]
    second = (await put(MAJORITY)).body["version"]
    reply = await call("POST", "/policies/wine/rollback", json={"version": first})
    assert (reply.status, reply.body["settings"]) == (200, DEADLINE)
    assert reply.body["version"] > second
    newest, *older = await versions(call)
    assert (newest["state"], newest["description"]) == (
        "IN_FORCE",
        f"roll back to version {first}",
    )
    assert [each["state"] for each in older[:2]] == ["REPLACED", "REPLACED"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"version": 10_000}, 404, "there is no policy version 10000 of 'wine'"),
        ({"version": "first"}, 400, "version"),
        ({}, 400, "version"),
    ],
)
async def test_what_is_no_version_cannot_be_rolled_back_to(
    body: dict[str, Any], status: int, message: str, call: Any
) -> None:
    reply = await call("POST", "/policies/wine/rollback", json=body)
    assert reply.status == status
    assert message in reply.body["error"]


@pytest.mark.usefixtures("models")
async def test_without_a_policy_the_newest_model_serves(put: Any, call: Any, wine: Any) -> None:
    await put(MAJORITY)
    for _ in range(2):  # what is not there is removed, too
        reply = await call("DELETE", "/policies/wine")
        assert (reply.status, reply.body["state"]) == (200, "IN_FORCE")
    assert (await call("GET", "/policies/wine")).status == 404
    newest = (await versions(call))[0]
    assert (newest["policy"], newest["settings"]) == (None, None)
    scored = (await call("POST", "/score/wine", json=wine(9))).body
    assert "policy" not in scored
    assert scored["results"] == [{"value": 9.5}]


@pytest.mark.usefixtures("models")
async def test_a_model_that_answers_another_question_stays_off_the_stage(
    put: Any, publish: Any, wine_models: Any
) -> None:
    await put(MAJORITY)
    network = (wine_models / "05-mlp.onnx").read_bytes()
    reply = await publish(network, name="two")
    assert (reply.status, reply.body["state"]) == (422, "REJECTED")
    reason = "the models on stage do not answer the same question: one regression, two class"
    assert reason in reply.body["reason"]


@pytest.mark.usefixtures("models")
async def test_a_model_that_the_policy_does_not_name_stays_warm(
    put: Any, publish: Any, model: Callable[[float], bytes]
) -> None:
    await put(MAJORITY)
    reply = await publish(model(1.0), name="three")
    assert (reply.status, reply.body["state"]) == (202, "WARM")
