"""What the endpoints in `http/cluster.py` answer."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from repertory.actors.membership import MemberState
from repertory.http.openapi.operation import ASKS, NAMES, Operation, answer
from repertory.http.openapi.queries import Moment


class Member(TypedDict):
    """A node of the cluster, as another sees it."""

    node: str
    state: MemberState
    since: Moment | None
    reason: str
    roles: list[str]
    owns: list[str]
    serves: list[str]
    http: NotRequired[str | None]
    software: NotRequired[str | None]


class Shard(TypedDict):
    """Who owns, and who can serve, a data type."""

    replicas: int
    owners: list[str]
    ready: dict[str, int]
    out: dict[str, Any]


class ClusterSeen(TypedDict):
    """The nodes, and who serves what, as the node that is asked sees it."""

    node: str
    leader: str | None
    members: list[Member]
    shards: dict[str, Shard]


CLUSTER = Operation(
    "the nodes, and who serves what", {200: answer("The cluster.", ClusterSeen)}, ASKS
)
MEMBER = Operation("one of the nodes", {200: answer("The node.", Member)}, NAMES)
