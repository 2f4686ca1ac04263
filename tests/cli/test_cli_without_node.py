"""What the command line says when something is wrong before any node is asked."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from repertory.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(make_config: Callable[..., Path]) -> Path:
    return make_config()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def change(config: Path) -> Callable[..., Path]:
    """Change keys of the data type in cluster.yaml."""

    def write(**keys: object) -> Path:
        document = yaml.safe_load(config.read_text())
        document["data_types"]["wine"].update(keys)
        config.write_text(yaml.safe_dump(document))
        return config

    return write


def fails(ended: Any, *words: str, code: int = 1) -> None:
    assert ended.code == code, ended
    assert [word for word in words if word not in ended.err] == [], ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments", [("status",), ("versions", "wine"), ("rollback", "wine", "1")]
)
def test_a_node_that_does_not_run_is_told(
    arguments: tuple[str, ...], repertory: Callable[..., Any], free_ports: Callable[[], int]
) -> None:
    url = f"http://127.0.0.1:{free_ports()}"
    fails(repertory(*arguments, "--url", url), url, "Connection refused", "`repertory up`")


def test_publish_and_score_tell_it_too(
    wine_models: Path, wine_data: Path, repertory: Callable[..., Any], free_ports: Callable[[], int]
) -> None:
    url = f"127.0.0.1:{free_ports()}"
    for command, file in (("publish", wine_models / "05-mlp.onnx"), ("score", wine_data)):
        fails(
            repertory(command, "wine", file, REPERTORY_URL=url), f"no node answers at http://{url}"
        )


@pytest.mark.parametrize("url", ["ftp://host", "http://:80", "http://host:port", "http://h/?a=b"])
def test_what_is_no_address_is_refused(url: str, repertory: Callable[..., Any]) -> None:
    fails(repertory("status", "--url", url), "--url", repr(url), code=2)


def test_a_file_that_does_not_exist_is_named(repertory: Callable[..., Any]) -> None:
    for command in ("publish", "score"):
        fails(repertory(command, "wine", "nix.onnx"), "'nix.onnx' does not exist", code=2)


@pytest.mark.parametrize("command", ["up", "config", "doctor"])
def test_without_a_cluster_file_it_is_asked_for(
    command: str, repertory: Callable[..., Any]
) -> None:
    ended = repertory(command)
    assert ended.code == 1
    assert (
        "cluster.yaml: cannot be read: No such file or directory; --config" in ended.out + ended.err
    )


@pytest.mark.parametrize("command", ["up", "config"])
def test_a_file_that_is_not_yaml_is_named(
    command: str, tmp_path: Path, repertory: Callable[..., Any]
) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    fails(repertory(command, "--config", "bad.yaml", cwd=tmp_path), "bad.yaml: is not YAML")


def test_an_unknown_node_is_named_with_those_there_are(
    config: Path, repertory: Callable[..., Any]
) -> None:
    fails(repertory("up", "--config", config, "--node", "z"), "no node 'z'", "there are: a")


def test_up_refuses_a_port_that_is_taken(
    config: Path, taken: int, repertory: Callable[..., Any]
) -> None:
    ended = repertory("up", "--config", config, REPERTORY_HTTP__PORT=str(taken))
    fails(ended, f"http.port: 127.0.0.1:{taken} cannot be listened on", "another port")


def test_up_refuses_a_door_for_other_nodes_that_is_taken(
    config: Path, taken: int, repertory: Callable[..., Any]
) -> None:
    environ = {
        "REPERTORY_NODES": f"{{a: {{door_port: {taken}}}, b: {{host: 127.0.0.2}}}}",
        "REPERTORY_JOURNAL__KIND": "kafka",
        "REPERTORY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "REPERTORY_CLUSTER__SECRET": "s" * 16,
        "REPERTORY_HTTP__PORT": "0",
    }
    ended = repertory("up", "--config", config, **environ)
    fails(ended, f"nodes.a.door_port: 127.0.0.1:{taken} cannot be listened on")


def test_up_refuses_an_embedded_broker_whose_port_is_taken(
    config: Path, taken: int, repertory: Callable[..., Any]
) -> None:
    servers = f"127.0.0.1:{taken}"
    environ = {"REPERTORY_KAFKA__BOOTSTRAP_SERVERS": servers}
    ended = repertory("up", "--config", config, "--broker", "embedded", **environ)
    fails(ended, f"kafka.bootstrap_servers: {servers} cannot be listened on")


def test_up_refuses_several_addresses_for_the_embedded_broker(
    config: Path, repertory: Callable[..., Any]
) -> None:
    environ = {"REPERTORY_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2"}
    ended = repertory("up", "--config", config, "--broker", "embedded", **environ)
    fails(ended, "the embedded broker has one address, not a:1,b:2")


def test_up_refuses_brokers_that_are_no_addresses(
    config: Path, repertory: Callable[..., Any]
) -> None:
    fails(
        repertory("up", "--config", config, "--broker", "nonsense"), "'nonsense' is not host:port"
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"message": "nope_pb2:Wine"}, ("No module named 'nope_pb2'", "PYTHONPATH")),
        ({"message": "repertory.protos.winerecord_pb2:Beer"}, ("data_types.wine.message", "Beer")),
        ({"features": ["pH", "hops"]}, ("has no fields ['hops']", "fixed_acidity")),
    ],
)
def test_up_refuses_a_message_that_does_not_fit(
    keys: dict[str, Any],
    words: tuple[str, ...],
    change: Callable[..., Path],
    repertory: Callable[..., Any],
) -> None:
    fails(repertory("up", "--config", change(**keys)), *words)


def test_the_broker_refuses_a_port_that_is_taken(taken: int, repertory: Callable[..., Any]) -> None:
    fails(repertory("broker", "--port", taken), f"cannot listen on 127.0.0.1:{taken}")


def test_config_prints_what_is_in_force_without_secrets(
    config: Path, repertory: Callable[..., Any]
) -> None:
    ended = repertory("config", "--config", config, REPERTORY_KAFKA__PASSWORD="hush")
    assert yaml.safe_load(ended.out)["http"]["port"] == load_config(config, {}).http.port
    assert "hush" not in ended.out
    assert "password: '**********'" in ended.out


def test_doctor_looks_at_everything(config: Path, repertory: Callable[..., Any]) -> None:
    ended = repertory("doctor", "--config", config)
    assert ended.code == 0, ended.out
    for what in ("Python", "onnxruntime", "tf2onnx", "pypmml", "data_dir", "http.port", "kafka"):
        assert f"     ok  {what}: " in ended.out


def test_doctor_fails_for_what_is_needed_and_says_how_to_mend_it(
    taken: int,
    change: Callable[..., Path],
    repertory: Callable[..., Any],
    free_ports: Callable[[], int],
) -> None:
    servers = f"127.0.0.1:{free_ports()}"
    environ = {"REPERTORY_HTTP__PORT": str(taken), "REPERTORY_KAFKA__BOOTSTRAP_SERVERS": servers}
    ended = repertory("doctor", "--config", change(message="nope_pb2:Wine"), **environ)
    assert ended.code == 1
    assert " failed  data_types.wine.message: nope_pb2:Wine: No module" in ended.out
    assert f" failed  http.port: 127.0.0.1:{taken}: Address already in use" in ended.out
    assert f" failed  kafka: nobody answers at {servers}" in ended.out


@pytest.mark.parametrize(
    ("feature", "level", "words"),
    [
        ("pixels[784]", "    ok", "tests.fixtures.picture:Picture"),
        ("pixels", "failed", "['pixels']: repeated fields have a width, and no others have"),
        ("exposure[2]", "failed", "['exposure']: repeated fields have a width"),
        ("pixel[2]", "failed", "has no fields ['pixel']"),
    ],
)
def test_doctor_knows_vectors(
    feature: str, level: str, words: str, change: Callable[..., Path], repertory: Callable[..., Any]
) -> None:
    file = change(message="tests.fixtures.picture:Picture", features=[feature])
    found = repertory("doctor", "--config", file, PYTHONPATH=str(ROOT))
    assert f" {level}  data_types.wine.message: {words}" in found.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data-type", "beer"), ("no data type 'beer'", "wine")),
        (("--rate", "-1"), ("--rate", "x>0")),
    ],
)
def test_replay_refuses_what_cannot_be(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    config: Path,
    wine_data: Path,
    repertory: Callable[..., Any],
) -> None:
    fails(repertory("replay", wine_data, "--config", config, *arguments), *words, code=2)


def test_replay_names_the_row_and_column_that_are_wrong(
    tmp_path: Path, config: Path, repertory: Callable[..., Any]
) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("pH,colour\n3.3,red\n")
    ended = repertory("replay", file, "--config", config, "--kafka", "127.0.0.1:1")
    fails(ended, "wrong.csv, row 1: column 'colour' is not a field of WineRecord")
