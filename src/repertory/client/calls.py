"""Every question that a client asks: where, with what, and how the answer is understood."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import orjson

from repertory.client.documents import Health, Policy, Published, Serving, State, Version, state_of
from repertory.client.exchange import Call, Form, Repeat, path
from repertory.client.records import Body
from repertory.client.scores import Scores, scores_of
from repertory.errors import InvalidRequest

Document = dict[str, Any]


def score(data_type: str, body: Body, *, explain: bool) -> Call[Scores]:
    """Have records scored, which changes nothing but statistics."""
    return Call(
        "POST",
        path("score", data_type),
        lambda told: scores_of(told, body.index),
        query={"explain": "true"} if explain else {},
        body=body.content,
        content_type=body.content_type,
        scoring=True,
    )


def features(data_type: str) -> Call[tuple[str, ...]]:
    """Ask for the features of a data type, in order."""
    return Call("GET", path("v2", "models", data_type), _features)


def _features(told: Document) -> tuple[str, ...]:
    return tuple(
        each["name"] + (f"[{each['shape'][1]}]" if len(each["shape"]) > 1 else "")
        for each in told["inputs"]
    )


def publish(form: Form, *, wait: bool) -> Call[Published]:
    """Publish a model."""
    query = {"wait": "true" if wait else "false"}
    return Call("POST", path("models"), Published.of, query=query, body=form, repeat=Repeat.UNSENT)


def form(data_type: str, model: str | PathLike[str] | bytes, **fields: str | None) -> Form:
    """Return the form that publishes a model, whose name is its file's if none is given.

    Raises InvalidRequest, FileNotFoundError and IsADirectoryError.
    """
    file = None if isinstance(model, bytes) else Path(model)
    if file is not None:
        file.open("rb").close()  # said now, rather than amid a request
    name = fields.pop("name") or (file.name.partition(".")[0] if file else "")
    if not name:
        raise InvalidRequest("a model that comes as bytes needs a name")
    known = {"dataType": data_type, "name": name, **fields}
    told = {key: value for key, value in known.items() if value}
    content = model if isinstance(model, bytes) else Path(model)
    return Form(told, content, file.name if file else "model")


def models() -> Call[list[Serving]]:
    """Ask which models serve."""
    return Call("GET", path("models"), lambda told: [Serving.of(each) for each in told["models"]])


def versions(data_type: str) -> Call[list[Version]]:
    """Ask for all versions, the newest first."""
    return Call(
        "GET",
        path("models", data_type, "versions"),
        lambda told: [Version.of(each) for each in told["versions"]],
    )


def rollback(data_type: str, version: int) -> Call[Published]:
    """Have an earlier version serve again."""
    return _change("POST", path("models", data_type, "rollback"), Published.of, version=version)


def retire(data_type: str) -> Call[Published]:
    """Have no model of a data type serve any more."""
    return _change("DELETE", path("models", data_type), Published.of)


def state(data_type: str) -> Call[State]:
    """Ask how a data type does."""
    return Call("GET", path("state", data_type), state_of)


def compare(data_type: str) -> Call[Document]:
    """Ask how the models on a policy's slots differ."""
    return Call("GET", path("compare", data_type), _whole)


def policy(data_type: str) -> Call[Policy | None]:
    """Ask for the policy in force."""
    return Call(
        "GET",
        path("policies", data_type, "versions"),
        lambda told: next((each for each in _policies(told) if _in_force(each)), None),
    )


def policies(data_type: str) -> Call[list[Policy]]:
    """Ask for all policies there were, the newest first."""
    return Call("GET", path("policies", data_type, "versions"), _policies)


def _policies(told: Document) -> list[Policy]:
    return [Policy.of(each) for each in told["policies"]]


def _in_force(policy: Policy) -> bool:
    return policy.state == "IN_FORCE" and policy.policy is not None


def set_policy(
    data_type: str, settings: Mapping[str, Any], *, description: str, wait: bool
) -> Call[Policy]:
    """Put a policy in force."""
    query = {"wait": "true" if wait else "false"}
    told = {**settings, **({"description": description} if description else {})}
    return _change("PUT", path("policies", data_type), Policy.of, query=query, **told)


def remove_policy(data_type: str) -> Call[Policy]:
    """Have no policy any more."""
    return _change("DELETE", path("policies", data_type), Policy.of)


def roll_back_policy(data_type: str, version: int) -> Call[Policy]:
    """Put the settings of an earlier policy in force again."""
    return _change("POST", path("policies", data_type, "rollback"), Policy.of, version=version)


def cluster() -> Call[Document]:
    """Ask for the nodes, and who serves what."""
    return Call("GET", path("cluster"), _whole)


def status(node: str | None) -> Call[Document]:
    """Ask how a whole node does."""
    return Call("GET", path("status"), _whole, query={} if node is None else {"node": node})


def health() -> Call[Health]:
    """Ask whether a node is ready; that it is not is an answer, too."""
    return Call("GET", path("health", "ready"), _health, accepted=frozenset({503}))


def _health(told: Document) -> Health:
    return Health.of({**told, "waitingFor": told.get("waiting_for", ())})


def _whole(told: Document) -> Document:
    return told


def _change(
    method: str, where: str, understand: Any, *, query: Mapping[str, str] | None = None, **what: Any
) -> Call[Any]:
    body = orjson.dumps(what) if what else None
    return Call(method, where, understand, query=query or {}, body=body, repeat=Repeat.UNSENT)
