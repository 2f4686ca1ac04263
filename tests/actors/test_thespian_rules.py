"""The rules for building on Thespian that no other test proves; see docs/thespian-rules.md."""

import asyncio
import dataclasses
import importlib.metadata
import inspect
import json
import os
import signal
import subprocess
import sys
import tomllib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from repertory.actors import messages
from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.config import ClusterConfig
from repertory.errors import RequestFailed

Waiter = Callable[..., None]

ROOT = Path(__file__).parent.parent.parent


def imported_with(module: str) -> set[str]:
    """Return the top packages that a fresh process has imported once it imported `module`."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


def test_thespian_is_the_one_version_that_the_wire_overrides() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "thespian==4.0.1" in project["project"]["dependencies"]
    assert importlib.metadata.version("thespian") == "4.0.1"


MESSAGES = [
    item
    for _, item in inspect.getmembers(messages, dataclasses.is_dataclass)
    if item.__module__ == messages.__name__
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_immutable_and_carry_neither_records_nor_models(message: Any) -> None:
    assert message.__dataclass_params__.frozen
    kinds = set(typing.get_type_hints(message).values())
    assert kinds <= {str, int, bool, ClusterConfig, messages.Shard}


def test_there_are_messages() -> None:
    assert len(MESSAGES) >= 5


@pytest.mark.parametrize(
    "module",
    ["repertory.actors.router", "repertory.actors.serving", "repertory.actors.policy_actor"],
)
def test_actors_import_no_engine_and_no_kafka_at_the_top(module: str) -> None:
    heavy = {"tensorflow", "jpype", "pypmml", "confluent_kafka", "onnxruntime"}
    assert imported_with(module) & heavy == set()


@pytest.mark.parametrize(
    "module", ["repertory.http.face", "repertory.streams.face", "repertory.actors.keeper"]
)
def test_faces_and_keeper_know_the_door_and_not_thespian(module: str) -> None:
    assert "thespian" not in imported_with(module)


def test_no_actor_has_a_global_name_and_one_module_names_the_one_leader() -> None:
    for path in (ROOT / "actors").glob("*.py"):
        code = path.read_text()
        assert "globalName" not in code
        assert ("Convention Address" in code) == (path.name == "convention.py")


# --- on a real node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Give a node without faces."""
    folder = tmp_path_factory.mktemp("rules")
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH", "alcohol"]}
    document = {
        "data_dir": str(folder / "data"),
        "http": {"enabled": False},
        "data_types": {"wine": wine},
    }
    (folder / "cluster.yaml").write_text(json.dumps(document))
    with LocalNode(folder / "cluster.yaml", log=folder / "node.log") as made:
        yield made
        made.kill()
        made.wait_gone()


def ask(node: LocalNode, subject: str) -> dict[str, Any]:
    """Ask the router, waiting for it to come up."""

    async def asked() -> dict[str, Any]:
        async with RouterClient(node.paths.router_door, role="test") as client:
            return await client.ask(subject, timeout=30)

    return asyncio.run(asked())


def serving_pid(node: LocalNode) -> int | None:
    try:
        pid: int | None = ask(node, "status")["data_types"]["wine"].get("pid")
    except RequestFailed:
        return None
    return pid


@pytest.fixture
def actor_pid(node: LocalNode, wait_for: Waiter) -> int:
    """Return the process of the serving actor."""
    wait_for(lambda: serving_pid(node))
    pid = serving_pid(node)
    assert pid is not None
    return pid


def test_actors_are_started_by_spawn_and_get_what_thespian_needs(
    node: LocalNode, actor_pid: int
) -> None:
    process = psutil.Process(actor_pid)
    assert any("multiprocessing.spawn" in word for word in process.cmdline())
    variables = process.environ()
    assert variables["THESPIAN_MAX_PENDING_TRANSMITS"] == "200"
    assert variables["THESPIAN_BASE_IPADDR"] == "127.0.0.1"
    assert Path(variables["THESPLOG_FILE"]).parent == node.paths.logs


def test_each_node_has_a_key_of_its_own_that_its_actors_share(
    node: LocalNode, actor_pid: int
) -> None:
    key = psutil.Process(actor_pid).environ()["REPERTORY_WIRE_KEY"]
    assert len(bytes.fromhex(key)) == 32
    assert key != os.environ.get("REPERTORY_WIRE_KEY")


@pytest.mark.parametrize("by", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_an_actor_that_crashes_is_gone_at_once_and_a_new_one_serves(
    node: LocalNode, actor_pid: int, wait_for: Waiter, by: signal.Signals
) -> None:
    os.kill(actor_pid, by)
    wait_for(lambda: serving_pid(node) not in (None, actor_pid), 10)
    assert not psutil.pid_exists(actor_pid)


def test_a_node_that_is_told_to_end_leaves_nothing_behind(node: LocalNode, actor_pid: int) -> None:
    assert actor_pid in node.processes()
    assert node.stop(timeout=20) == 0
    node.wait_gone(timeout=2)  # the last one ends as its parent has ended
    assert not node.paths.run.exists()
