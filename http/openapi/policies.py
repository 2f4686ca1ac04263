"""What the endpoints in `http/policies.py` take and answer."""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from repertory.actors.policies.settings import PolicySettings, known_policies
from repertory.http.openapi.operation import JSON_TYPE, NAMES, READS, Body, Operation, answer
from repertory.http.openapi.publishing import WAIT, VersionWanted
from repertory.http.openapi.queries import Moment
from repertory.journal.lifecycle import PolicyState


class NewPolicy(PolicySettings):
    """A policy that is to be in force; what `options` may hold depends on its kind."""

    policy: Annotated[str, Field(json_schema_extra={"enum": sorted(known_policies())})]
    description: str = ""


class PolicyVersion(TypedDict):
    """A version of a policy, and what became of it. Without `policy`, it has none be in force."""

    dataType: str
    version: int
    state: PolicyState
    policy: NotRequired[str | None]
    settings: NotRequired[dict[str, Any] | None]
    reason: NotRequired[str]
    description: NotRequired[str]
    published: NotRequired[Moment]
    decided: NotRequired[Moment | None]


class PolicyVersions(TypedDict):
    """All policies there were, the newest first."""

    dataType: str
    policies: list[PolicyVersion]


_DECIDED = {
    200: answer("It is in force.", PolicyVersion),
    202: answer("It is on its way.", PolicyVersion),
}

PUT = Operation(
    "choose among several models",
    _DECIDED,
    (422, *NAMES, *READS),
    [WAIT],
    Body({JSON_TYPE: NewPolicy}, "policy"),
)
GET = Operation("the policy in force", {200: answer("The policy in force.", PolicyVersion)}, NAMES)
REMOVE = Operation("have no policy any more", _DECIDED, (422, *NAMES))
VERSIONS = Operation(
    "all policies there were", {200: answer("The versions.", PolicyVersions)}, NAMES
)
ROLL_BACK = Operation(
    "put an old policy in force",
    _DECIDED,
    (422, *NAMES, *READS),
    body=Body({JSON_TYPE: VersionWanted}, "version"),
)
