"""The green room admits good models, refuses bad ones, and survives hostile ones."""

import hashlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.green_room import GreenRoom, GreenRoomFailed
from repertory.models.loader import load_model
from repertory.models.model import Columns, Engine, Schema, Task
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

GraphBuilder = Callable[..., bytes]

LIMITS = Models(max_mb=16)
X = [("x", TensorProto.DOUBLE, ["n", 11])]
Y = [("y", TensorProto.DOUBLE, ["n", 1])]


@pytest.fixture(scope="module")
def room(wine: Schema) -> Iterator[GreenRoom]:
    green_room = GreenRoom(LIMITS, {"wine": wine})
    yield green_room
    green_room.close()


def descriptor(data: bytes, **fields: Any) -> bytes:
    known = {"name": "m", "description": "d", "dataType": "wine", "modeltype": ModelDescriptor.ONNX}
    return ModelDescriptor(**{**known, **fields, "data": data}).SerializeToString()


def refusal(room: GreenRoom, published: bytes | Path) -> str:
    with pytest.raises(ModelRejected) as caught:
        room.prepare(published)
    return caught.value.reason


def child_of(room: GreenRoom) -> psutil.Process:
    """Return the process that checks models for a room; other tests have rooms open, too."""
    assert room._child is not None
    return psutil.Process(room._child.pid)


def sum_of(graph: GraphBuilder, *nodes: onnx.NodeProto, **constants: np.ndarray[Any, Any]) -> bytes:
    """Return a model that adds up the features as `r`; `nodes` make `y` of it."""
    total = helper.make_node("ReduceSum", ["x", "axis"], ["r"], keepdims=1)
    return graph([total, *nodes], X, Y, {"axis": np.array([1]), **constants})


def loop_body(*, turns: int | None = None) -> onnx.GraphProto:
    """Return the body of a Loop that hands its value on, after a loop of `turns` inside."""

    def value(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    tag = "inner" if turns is None else "outer"
    nodes = [helper.make_node("Identity", [f"c_{tag}"], [f"d_{tag}"])]
    if turns is None:
        nodes.append(helper.make_node("Identity", [f"a_{tag}"], [f"b_{tag}"]))
    else:
        for name, array in (("turns", np.array(turns)), ("again", np.array(True))):
            nodes.append(
                helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
            )
        inputs = ["turns", "again", f"a_{tag}"]
        nodes.append(helper.make_node("Loop", inputs, [f"b_{tag}"], body=loop_body()))
    return helper.make_graph(
        nodes,
        tag,
        [
            value(f"i_{tag}", TensorProto.INT64, []),
            value(f"c_{tag}", TensorProto.BOOL, []),
            value(f"a_{tag}", TensorProto.DOUBLE, None),
        ],
        [value(f"d_{tag}", TensorProto.BOOL, []), value(f"b_{tag}", TensorProto.DOUBLE, None)],
    )


@pytest.fixture(scope="module")
def slow(graph: GraphBuilder) -> bytes:
    """Return a model whose loops, a million turns in a million, are allowed but do not end."""
    loop = helper.make_node("Loop", ["n", "go", "r"], ["y"], body=loop_body(turns=10**6))
    return sum_of(graph, loop, n=np.array(10**6), go=np.array(True))


def test_a_good_model_is_admitted_with_what_its_descriptor_says(
    room: GreenRoom, linear_onnx: bytes
) -> None:
    admitted = room.prepare(descriptor(linear_onnx))
    assert (admitted.data_type, admitted.name, admitted.description) == ("wine", "m", "d")
    assert admitted.model_type == ModelDescriptor.ONNX
    assert admitted.sha256 == hashlib.sha256(linear_onnx).hexdigest()
    assert admitted.prepared.engine is Engine.ONNX
    assert admitted.prepared.signature.task is Task.REGRESSION


def test_a_descriptor_may_come_as_a_file(
    room: GreenRoom, linear_onnx: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "descriptor"
    path.write_bytes(descriptor(linear_onnx))
    assert room.prepare(path).name == "m"


def test_an_admitted_model_scores(
    room: GreenRoom, linear_onnx: bytes, wine_columns: Columns
) -> None:
    outcomes = load_model(room.prepare(descriptor(linear_onnx)).prepared).score(wine_columns)
    assert outcomes.values is not None
    expected = np.sum(list(wine_columns.features.values()), axis=0) + 1
    np.testing.assert_allclose(outcomes.values, expected)


def test_a_descriptor_that_makes_no_sense_is_refused(room: GreenRoom, linear_onnx: bytes) -> None:
    whole = descriptor(linear_onnx)
    assert refusal(room, b"") == "the descriptor is empty"
    assert "not a ModelDescriptor" in refusal(room, b"\xff\xfe garbage")
    assert "truncated" in refusal(room, whole[:-40])
    assert "set dataType" in refusal(room, descriptor(linear_onnx, dataType=""))
    assert "'beer' is not declared" in refusal(room, descriptor(linear_onnx, dataType="beer"))
    assert "set data or location" in refusal(
        room, ModelDescriptor(dataType="wine").SerializeToString()
    )
    assert "content is empty" in refusal(room, descriptor(b""))


def test_a_descriptor_of_500_megabytes_is_refused_unread(room: GreenRoom, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(500 * 1024 * 1024)
    assert "500 MiB, more than models.max_mb = 16" in refusal(room, path)


def test_a_descriptor_that_is_not_there_says_nothing_of_the_model(
    room: GreenRoom, tmp_path: Path
) -> None:
    with pytest.raises(GreenRoomFailed, match="cannot be read"):
        room.prepare(tmp_path / "nowhere")


def test_a_model_of_another_format_is_refused(room: GreenRoom, linear_onnx: bytes) -> None:
    unset = descriptor(linear_onnx, modeltype=ModelDescriptor.TENSORFLOW)
    assert "modeltype was not set), but the content looks like ONNX" in refusal(room, unset)
    pmml = descriptor(linear_onnx, modeltype=ModelDescriptor.PMML)
    assert "modeltype is PMML, but the content looks like ONNX" in refusal(room, pmml)
    assert "PFA is not served" in refusal(room, descriptor(b"{}", modeltype=ModelDescriptor.PFA))


def test_an_endless_loop_is_refused_unrun(room: GreenRoom, graph: GraphBuilder) -> None:
    for turns in ("", "n"):
        loop = helper.make_node("Loop", [turns, "go", "r"], ["y"], body=loop_body())
        model = sum_of(graph, loop, n=np.array(10**12), go=np.array(True))
        assert "Loop (node '') may never end" in refusal(room, descriptor(model))


def test_a_model_that_does_not_end_is_refused(room: GreenRoom, slow: bytes) -> None:
    assert "did not end within 5 s" in refusal(room, descriptor(slow))


def test_a_model_that_asks_for_100_gigabytes_is_refused(
    room: GreenRoom, graph: GraphBuilder
) -> None:
    model = sum_of(
        graph,
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Cast", ["zero"], ["nought"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["r", "nought"], ["y"]),
        size=np.array([25 * 2**30]),
    )
    assert "needs more memory than its check allows" in refusal(room, descriptor(model))


def test_data_in_another_file_is_refused_unread(room: GreenRoom, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(np.ones((11, 1)).tobytes())
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 11])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 1])],
        [TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[11, 1])],
    )
    graph.initializer[0].data_location = TensorProto.EXTERNAL
    graph.initializer[0].external_data.add(key="location", value=str(tmp_path / "weights"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    reason = refusal(room, descriptor(model.SerializeToString()))
    assert "tensor 'w' keeps its data in another file" in reason


def test_an_operator_that_onnx_does_not_define_is_refused(
    room: GreenRoom, graph: GraphBuilder
) -> None:
    node = helper.make_node("Evil", ["x"], ["y"], domain="com.example")
    model = graph([node], X, Y, opsets=[("", 17), ("com.example", 1)])
    assert "operator com.example.Evil" in refusal(room, descriptor(model))


def test_a_check_that_takes_too_long_is_killed_and_the_next_model_served(
    wine: Schema, slow: bytes, linear_onnx: bytes
) -> None:
    room = GreenRoom(Models(check_seconds=1), {"wine": wine})
    try:
        assert refusal(room, descriptor(slow)) == "the check took longer than 1 s"
        assert room.prepare(descriptor(linear_onnx)).name == "m"
    finally:
        room.close()


def test_a_check_that_dies_is_told_and_the_next_model_served(
    room: GreenRoom, slow: bytes, linear_onnx: bytes
) -> None:
    killer = threading.Timer(0.5, child_of(room).send_signal, (signal.SIGSEGV,))
    killer.start()
    assert refusal(room, descriptor(slow)) == "the check died (signal SIGSEGV)"
    killer.join()
    assert room.prepare(descriptor(linear_onnx)).name == "m"


def test_a_child_that_died_between_two_checks_is_replaced(
    room: GreenRoom, linear_onnx: bytes
) -> None:
    child = child_of(room)
    child.kill()
    child.wait(10)
    assert room.prepare(descriptor(linear_onnx)).name == "m"


def test_the_child_is_cut_off_from_the_network_or_says_why_not(room: GreenRoom) -> None:
    devices = Path(f"/proc/{child_of(room).pid}/net/dev").read_text().splitlines()[2:]
    names = [line.partition(":")[0].strip() for line in devices]
    assert names == ["lo"] if room.network == "none" else "not isolated: " in room.network


def test_the_child_sees_no_secrets_of_its_parent(
    wine: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPERTORY_KAFKA__PASSWORD", "secret")
    room = GreenRoom(LIMITS, {"wine": wine})
    try:
        assert "secret" not in Path(f"/proc/{child_of(room).pid}/environ").read_text()
    finally:
        room.close()


def test_closing_leaves_no_process_and_no_file(wine: Schema, tmp_path: Path) -> None:
    room = GreenRoom(LIMITS, {"wine": wine})
    child, folder = child_of(room), room.folder
    room.close()
    room.close()
    assert not child.is_running()
    assert not folder.exists()
    with pytest.raises(GreenRoomFailed, match="closed"):
        room.prepare(b"x")


def test_closing_gives_up_the_check_under_way(wine: Schema, slow: bytes) -> None:
    room = GreenRoom(LIMITS, {"wine": wine})
    closer = threading.Timer(0.5, room.close)
    closer.start()
    with pytest.raises(GreenRoomFailed, match="closed"):
        room.prepare(descriptor(slow))
    closer.join(10)
    assert not room.folder.exists()


def test_the_child_does_not_outlive_a_parent_that_is_killed() -> None:
    code = """
import os, signal, psutil
from repertory.config import Models
from repertory.models.green_room import GreenRoom
room = GreenRoom(Models(), {})
print(psutil.Process().children()[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert found.returncode == -signal.SIGKILL
    pid = int(found.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(10)


def test_models_are_checked_for_many_threads_one_at_a_time(
    room: GreenRoom, linear_onnx: bytes
) -> None:
    names: list[str] = []

    def publish(number: int) -> None:
        names.append(room.prepare(descriptor(linear_onnx, name=str(number))).name)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(names) == sorted(map(str, range(8)))
