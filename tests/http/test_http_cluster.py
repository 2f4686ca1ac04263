"""What is told over HTTP of the nodes of a cluster, and of each node's part in it."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.http.scripted import Ask, ScriptedRouter, cluster_answer, with_policy

from repertory.errors import Unavailable
from repertory.http.cluster import described
from repertory.http.queries import reasons

TRAFFIC = {"forwarded": {"b": 123, "c": 0}, "retried": 4, "held": 2}


class RecordingRouter(ScriptedRouter):
    """Keeps what it was asked."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, subject: str, *, timeout: float = 5.0, **data: Any) -> dict[str, Any]:
        self.asked.append((subject, data))
        return await super().ask(subject, timeout=timeout, **data)


def router_of(**status: Any) -> RecordingRouter:
    told = {"ready": True, "node": "a", "data_types": {}, **status}
    return RecordingRouter({("cluster", None): cluster_answer(), ("status", None): told})


async def test_the_cluster_is_what_the_router_says_and_who_owns_and_serves_what(
    reply_of: Ask,
) -> None:
    found = await (await reply_of(router_of(), "/cluster")).json()
    assert found == described(cluster_answer())
    members = {each["node"]: each for each in found["members"]}
    assert {name: each["owns"] for name, each in members.items()} == {
        "a": ["beer", "wine"],
        "b": ["wine"],
        "c": [],
    }
    assert {name: each["serves"] for name, each in members.items()} == {
        "a": ["wine"],
        "b": ["wine"],
        "c": [],
    }


async def test_one_member_can_be_asked_for(reply_of: Ask) -> None:
    reply = await reply_of(router_of(), "/cluster/members/c")
    assert (await reply.json())["reason"] == "silent for 5.1 s"


async def test_a_node_that_is_not_declared_is_named_with_those_there_are(reply_of: Ask) -> None:
    reply = await reply_of(router_of(), "/cluster/members/d")
    error = "no node 'd' is declared in cluster.yaml; there are: a, b, c"
    assert (reply.status, await reply.json()) == (404, {"error": error})


async def test_the_status_of_another_node_is_asked_for_by_its_name(reply_of: Ask) -> None:
    router = router_of()
    await reply_of(router, "/status?node=b")
    await reply_of(router, "/status")
    assert router.asked == [("status", {"node": "b"}), ("status", {})]


def test_a_trouble_of_the_cluster_is_a_reason_not_to_be_ready() -> None:
    health = {"waiting_for": [], "troubles": {"cluster": ["node b has another data_types.wine"]}}
    assert list(reasons(health)) == ["node b has another data_types.wine"]


async def metrics_of(reply: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the values of all metrics, by name and by the values of their labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(await reply.text()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_members_are_counted_by_state_and_told_each(reply_of: Ask) -> None:
    found = await metrics_of(await reply_of(router_of(), "/metrics"))
    counts = {("up",): 2, ("suspect",): 0, ("leaving",): 0, ("down",): 1, ("unknown",): 0}
    assert found["repertory_cluster_members"] == counts
    states = found["repertory_member_state"]
    assert {labels for labels, value in states.items() if value} == {
        ("a", "up"),
        ("b", "up"),
        ("c", "down"),
    }
    assert len(states) == 3 * len(counts)


async def test_shards_of_the_own_node_are_told_and_no_others(reply_of: Ask) -> None:
    found = await metrics_of(await reply_of(router_of(), "/metrics"))
    assert found["repertory_shard_ready"] == {("wine",): 1, ("beer",): 0}
    assert found["repertory_shard_position"] == {("wine",): 20}


async def test_what_other_nodes_serve_is_theirs_to_tell(reply_of: Ask) -> None:
    idle = {"serving": False, "waiting": 0, "in_flight": 0}
    data_types = {"wine": {**idle, "owned": True}, "beer": {**idle, "owned": False}}
    found = await metrics_of(await reply_of(router_of(data_types=data_types), "/metrics"))
    assert found["repertory_serving"] == {("wine",): 0}
    assert ("beer",) not in found["repertory_batches_waiting"]


async def test_batches_that_other_nodes_scored_are_counted(reply_of: Ask) -> None:
    found = await metrics_of(await reply_of(router_of(**TRAFFIC), "/metrics"))
    assert found["repertory_forwarded_batches_total"] == {("b",): 123, ("c",): 0}
    assert found["repertory_retried_batches_total"] == {(): 4}
    assert found["repertory_held_batches"] == {(): 2}


async def test_without_an_answer_about_the_cluster_the_rest_is_told(reply_of: Ask) -> None:
    status = {"ready": True, "node": "a", "data_types": {}}
    silent = ScriptedRouter(
        {("status", None): status, ("cluster", None): Unavailable("it is restarting")}
    )
    found = await metrics_of(await reply_of(silent, "/metrics"))
    assert found["repertory_ready"] == {(): 1}
    assert "repertory_cluster_members" not in found


async def test_metrics_are_of_the_own_node_alone(reply_of: Ask) -> None:
    router = with_policy()
    recording = RecordingRouter(router.script)
    await reply_of(recording, "/metrics")
    asked = [data for subject, data in recording.asked if subject in ("state", "comparison")]
    assert len(asked) == 5
    assert all(data["local"] for data in asked)
