"""cluster.yaml and the environment: what is right is read, what is wrong is named."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from repertory.config import (
    MASK,
    ClusterConfig,
    NodePaths,
    load_config,
    parse_config,
    split_feature,
)
from repertory.config_reference import reference
from repertory.errors import ConfigError

ROOT = Path(__file__).parent.parent
WINE = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH", "alcohol"]}


def parse(**sections: Any) -> ClusterConfig:
    return parse_config({"data_types": {"wine": WINE}, **sections}, source="c.yaml")


def wine(**changes: Any) -> dict[str, Any]:
    return {"wine": {**WINE, **changes}}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., ClusterConfig]:
    """Load a file that holds this text, in an environment of these variables alone."""

    def load_text(text: str = "", **environ: str) -> ClusterConfig:
        path = tmp_path / "cluster.yaml"
        path.write_text(text or yaml.safe_dump({"data_types": {"wine": WINE}}))
        return load_config(path, environ)

    return load_text


def test_the_cluster_of_the_example_needs_nothing_but_its_data_types() -> None:
    config = load_config(ROOT / "cluster.yaml", {})
    assert list(config.data_types) == ["wine"]
    assert len(config.data_types["wine"].features) == 11


def test_without_further_keys_it_listens_on_loopback_only() -> None:
    config = parse()
    assert {config.http.host, config.nodes["a"].host} == {"127.0.0.1"}
    assert config.kafka.bootstrap_servers is None


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"http": {"port": "x"}}, r"c\.yaml: http\.port: .*integer.*\(got 'x'\)"),
        ({"http": {"port": 65536}}, r"http\.port: .*65535 \(got 65536\)"),
        ({"http": {"prt": 1}}, r"http\.prt: unknown key; did you mean 'port'\?"),
        ({"jurnal": {}}, r"c\.yaml: jurnal: unknown key; did you mean 'journal'\?"),
        ({"quux": 1}, r"quux: unknown key$"),
        ({"http": "on"}, r"http: keys and values are expected \(got 'on'\)"),
        ({"log_level": "loud"}, r"log_level: .*'debug'.*\(got 'loud'\)"),
        ({"data_types": {}}, r"data_types: .*at least 1 item"),
        (
            {"data_types": {"red wine": WINE}},
            r"data_types\.red wine\.\[key\]: .*\(got 'red wine'\)",
        ),
        ({"data_types": wine(topic=["x"])}, r"data_types\.wine\.topic: .*did you mean 'topics'\?"),
        ({"data_types": wine(message="WineRecord")}, r"wine\.message: .*module:Class"),
        ({"data_types": wine(features=[])}, r"wine\.features: .*at least 1 item"),
        ({"data_types": wine(features=["a", "a"])}, r"wine\.features: 'a' is listed 2 times"),
        ({"data_types": wine(features=["a", "a[2]"])}, r"features: 'a' is listed 2 times"),
        ({"data_types": wine(features=["a[3]", "a[2]"])}, r"features: 'a' is listed 2 times"),
        ({"data_types": wine(features=["a[0]"])}, r"'a\[0\]': the width of a vector is 1 to 65536"),
        ({"data_types": wine(features=["a[65537]"])}, r"the width of a vector is 1 to 65536"),
        ({"data_types": wine(features=["a[" + "9" * 5000 + "]"])}, r"of a vector is 1 to 65536"),
        ({"data_types": wine(features=["a[]"])}, r"'a\[\]': a vector is written field\[width\]"),
        ({"data_types": wine(features=["a[-1]"])}, r"a vector is written field\[width\], such as"),
        (
            {"data_types": wine(features=["a[2][3]"])},
            r"a vector is written field\[width\], such as",
        ),
        ({"data_types": wine(features=["a[²]"])}, r"a vector is written field\[width\], such as"),
        ({"data_types": wine(max_batch=0)}, r"wine\.max_batch: .*1 \(got 0\)"),
        ({"nodes": {"a": {"host": 1}}}, r"nodes\.a\.host: .*string \(got 1\)"),
        ({"kafka": {"bootstrap_servers": "broker"}}, r"kafka\.bootstrap_servers: 'broker' is not"),
        ({"kafka": {"bootstrap_servers": "a:1, b"}}, r"'b' is not host:port"),
        ({"journal": {"kind": "kafka"}}, r"kind is kafka, but kafka\.bootstrap_servers is not"),
        ({"snapshots": {"url": "s3://a/b"}}, r"snapshots\.url: .*; set journal\.kind to kafka"),
    ],
)
def test_an_error_names_file_key_and_value(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(**sections)


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(http={"port": "x", "host": 1}, log_level="loud")
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml: data_types\.wine\.features: Field required$"):
        parse(data_types={"wine": {"message": WINE["message"]}})


@pytest.mark.parametrize("topic", ["models", "results", "dead-letters", "mdata"])
def test_a_topic_has_one_use(topic: str) -> None:
    """A record topic that is also the topic of results would be a loop."""
    types = {"wine": {**WINE, "topics": ["mdata", "w"]}, "beer": {**WINE, "topics": [topic]}}
    with pytest.raises(ConfigError, match=rf"topic '{topic}' is in both .* and data_types\.beer"):
        parse(data_types=types)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"cluster\.yaml: is not YAML: .*"),
        ("- a", r"cluster\.yaml: a mapping is expected at the top, not list"),
        ("data_types:", r"data_types: keys and values are expected \(got None\)"),
        ("# nothing", r"data_types: Field required"),
    ],
)
def test_a_file_that_is_no_cluster_is_named(
    text: str, message: str, load: Callable[..., ClusterConfig]
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(text)


def test_a_file_that_is_absent_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nix\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "nix.yaml", {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary: is not YAML"):
        load_config(tmp_path / "binary", {})


def test_a_section_whose_keys_are_commented_out_is_empty() -> None:
    assert parse(http=None).http.port == 5500
    assert parse(nodes={"b": None}).nodes["b"].host == "127.0.0.1"


def test_the_environment_overrides_the_file(load: Callable[..., ClusterConfig]) -> None:
    config = load(
        REPERTORY_HTTP__PORT="8080",
        REPERTORY_HTTP__ENABLED="false",
        REPERTORY_DATA_DIR="/srv",
        REPERTORY_MODELS__ROOTS="[/a, /b]",
        REPERTORY_DATA_TYPES__WINE__CREDIT="7",
        REPERTORY_KAFKA__BOOTSTRAP_SERVERS="h1:9092,[::1]:9093",
    )
    assert (config.http.port, config.http.enabled) == (8080, False)
    assert (config.data_dir, config.models.roots) == (Path("/srv"), (Path("/a"), Path("/b")))
    assert config.data_types["wine"].credit == 7
    assert config.kafka.bootstrap_servers == "h1:9092,[::1]:9093"


def test_an_empty_variable_unsets_a_key(load: Callable[..., ClusterConfig]) -> None:
    text = yaml.safe_dump({"data_types": wine(), "kafka": {"bootstrap_servers": "a:1"}})
    assert load(text).kafka.bootstrap_servers == "a:1"
    assert load(text, REPERTORY_KAFKA__BOOTSTRAP_SERVERS="").kafka.bootstrap_servers is None


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("REPERTORY_HTTP__PORT", "x", r"REPERTORY_HTTP__PORT: http\.port: .*\(got 'x'\)"),
        ("REPERTORY_HTPP__PORT", "1", r"REPERTORY_HTPP__PORT: htpp: .*did you mean 'http'"),
        ("REPERTORY_DATA_DIR__X", "1", r"REPERTORY_DATA_DIR__X: data_dir is not a section"),
        ("REPERTORY_MODELS__ROOTS", "[/a", r"REPERTORY_MODELS__ROOTS: '\[/a' is not YAML"),
        ("REPERTORY_MODELS__ROOTS", "/a", r"REPERTORY_MODELS__ROOTS: models\.roots: .*'/a'"),
    ],
)
def test_an_error_names_the_variable_that_is_wrong(
    variable: str, value: str, message: str, load: Callable[..., ClusterConfig]
) -> None:
    text = yaml.safe_dump({"data_types": wine(), "data_dir": "data"})
    with pytest.raises(ConfigError, match=message):
        load(text, **{variable: value})


@pytest.mark.parametrize("password", ["1234", "no", "null", "a: b", "{x", "[y]", "%z", "hush"])
def test_a_password_is_taken_as_it_is_and_never_printed(
    password: str, load: Callable[..., ClusterConfig]
) -> None:
    config = load(REPERTORY_KAFKA__PASSWORD=password)
    assert config.kafka.client_properties()["sasl.password"] == password
    assert config.model_dump(mode="json")["kafka"]["password"] == MASK
    assert repr(password) not in repr(config)


def test_secret_properties_are_masked_when_printed_and_kept_for_use() -> None:
    properties = {"ssl.key.password": "hush", "sasl.username": "me", "ssl.key.pem": "hush"}
    kafka = parse(kafka={"properties": properties}).kafka
    assert kafka.client_properties()["ssl.key.password"] == "hush"
    printed = kafka.model_dump(mode="json")["properties"]
    assert printed == {"ssl.key.password": MASK, "sasl.username": "me", "ssl.key.pem": MASK}


@pytest.mark.parametrize(
    "kafka",
    [{"password": ["hush"]}, {"pasword": "hush"}, {"properties": {"sasl.password": ["hush"]}}],
)
def test_an_error_about_a_secret_does_not_tell_it(kafka: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(kafka=kafka)
    assert "hush" not in str(caught.value)


def test_sockets_can_be_bound_however_long_the_data_folder_is(tmp_path: Path) -> None:
    longest = "n" + "x" * 62
    config = parse(data_dir=str(tmp_path / ("d" * 200)), nodes={"a": {}})
    door = NodePaths(config, "a").serving_door(longest)
    assert len(os.fsencode(door)) <= 107
    NodePaths(config, "a").create()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
    door.unlink()
    door.parent.rmdir()


def test_a_temporary_folder_too_deep_for_sockets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("t" * 60)))
    with pytest.raises(ConfigError, match="too long a path for sockets; set TMPDIR=/tmp"):
        NodePaths(parse(data_dir=str(tmp_path)), "a").create()


def test_a_data_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/a cannot be created: Not a directory"):
        NodePaths(parse(data_dir=str(tmp_path / "file")), "a").create()


def test_nodes_and_data_folders_do_not_share_sockets(tmp_path: Path) -> None:
    first, second = parse(data_dir=str(tmp_path / "1")), parse(data_dir=str(tmp_path / "2"))
    runs = [NodePaths(config, node).run for config in (first, second) for node in ("a", "b")]
    assert len(set(runs)) == 4


def test_a_node_keeps_its_files_to_its_user(tmp_path: Path) -> None:
    paths = NodePaths(parse(data_dir=str(tmp_path)), "a")
    paths.create()
    paths.create()  # again does no harm
    assert {path.stat().st_mode & 0o077 for path in (paths.root, paths.run, paths.models)} == {0}
    paths.run.rmdir()


def test_the_page_about_the_configuration_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    found = re.search(r"<!-- reference -->\n\n(.*)\n<!-- end -->", page, re.DOTALL)
    assert found, "the page lost its marks"
    assert found[1] == reference(), (
        "mend it: python -m repertory config --reference, between its marks"
    )


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert all(len(row.split("|")[3].strip()) > 10 for row in rows)


def test_what_is_in_force_can_be_read_back(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "repertory", "config", "--config", str(ROOT / "cluster.yaml")]
    printed = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout
    assert parse_config(yaml.safe_load(printed)) == load_config(ROOT / "cluster.yaml")


def test_a_vector_feature_is_split_into_its_field_and_its_width() -> None:
    found = [split_feature(each) for each in ("pH", "pixels[784]", "a[1]", "a[65536]")]
    assert found == [("pH", None), ("pixels", 784), ("a", 1), ("a", 65536)]
